//! What systemd is told of a shutdown: a hook for `Shutdown::on_progress`.

use std::{
    env,
    fmt::Write,
    io, mem, process,
    time::{Duration, Instant},
};

use super::socket::NotifySocket;
use crate::{Phase, Progress};

/// How much longer than the shutdown itself systemd is asked to wait: for the report, and for a
/// process that is slow to end.
const MARGIN: Duration = Duration::from_secs(1);

/// When to try again if systemd is slow to read.
const RETRY: Duration = Duration::from_millis(100);

/// The longest status. systemd reads messages of up to a page of 4096 bytes.
const LONGEST: usize = 1024;

/// Returns a hook for [`Shutdown::on_progress`](crate::Shutdown::on_progress) that tells systemd
/// how the service is getting on.
///
/// For a service of `Type=notify`:
///
/// - that it is ready, once [`run`](crate::Shutdown::run) is polled and nothing
///   [holds](crate::Readiness::hold) the drain unready, e.g. while its caches fill. Bind the
///   listener before, or take it from [`listeners`](super::listeners).
/// - that it is stopping, with a request to wait for as long as the shutdown may last and a second
///   more, whatever `TimeoutStopSec=` says. If nothing limits the shutdown, `TimeoutStopSec=` does.
/// - its status in words, which `systemctl status` shows: the [`Progress`].
/// - if the unit has a `WatchdogSec=`, that it is alive: twice in that time, while it runs and
///   while it stops, each time that the executor has [polled](Progress::polled) the shutdown. So
///   systemd hears nothing if the executor is blocked, under
///   [`run_with_watchdog`](crate::Shutdown::run_with_watchdog), too.
///
/// Without `NOTIFY_SOCKET` in the environment the hook does nothing. It never blocks, and if
/// systemd can't be reached, the program goes on without it. The feature `log` then logs a warning,
/// once.
///
/// ```
/// use std::time::Duration;
///
/// use async_drain::{Drain, Shutdown, systemd};
///
/// let drain = Drain::tracked();
/// let shutdown = Shutdown::new(&drain)
///     .grace(Duration::from_secs(60))
///     .on_progress(Duration::from_secs(1), systemd::notify());
/// ```
pub fn notify() -> impl FnMut(&Progress) + Send + 'static {
    // A supervisor that can't be reached is not worth failing for.
    let socket = NotifySocket::from_env().unwrap_or_else(|error| {
        warn(&error);
        None
    });
    let mut notifier = socket.map(|socket| Notifier::new(socket, watchdog()));
    move |progress| {
        if let Some(notifier) = &mut notifier {
            notifier.tell(progress);
        }
    }
}

/// Warns that systemd can't be told how the service is getting on.
fn warn(error: &io::Error) {
    #[cfg(feature = "log")]
    ::log::warn!(target: "async_drain", "systemd can't be told of the service: {error}");
    #[cfg(not(feature = "log"))]
    let _ = error;
}

/// Returns half of the time after which systemd takes a silent service for dead, if it ever does.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok().map(|value| value.parse::<u64>().ok());
    let for_us = match number("WATCHDOG_PID") {
        Some(pid) => pid == Some(process::id().into()),
        None => true,
    };
    let micros = number("WATCHDOG_USEC").flatten();
    micros
        .filter(|&micros| for_us && micros > 0)
        .map(|micros| Duration::from_micros(micros) / 2)
}

/// What systemd has been told so far.
struct Notifier {
    socket: NotifySocket,
    /// How often systemd wants to hear that the service is alive; `None` if it doesn't.
    watchdog: Option<Duration>,
    /// Set once systemd knows that the service is ready.
    ready: bool,
    /// Set once systemd knows that the service is stopping.
    stopping: bool,
    /// Until when systemd has been asked to wait; `None` until it is.
    waits: Option<Instant>,
    /// The status that systemd knows.
    status: String,
    /// Set once there has been a warning.
    warned: bool,
}

impl Notifier {
    fn new(socket: NotifySocket, watchdog: Option<Duration>) -> Self {
        Self {
            socket,
            watchdog,
            ready: false,
            stopping: false,
            waits: None,
            status: String::new(),
            warned: false,
        }
    }

    fn tell(&mut self, progress: &Progress) {
        let now = Instant::now();
        let ready = progress.phase == Phase::Running && progress.ready;
        let stopping = progress.phase > Phase::Running;
        let mut message = String::new();
        if ready && !self.ready {
            message.push_str("READY=1\n");
        }
        if stopping && !self.stopping {
            message.push_str("STOPPING=1\n");
        }
        let waits = self.waits_until(progress, now);
        if let Some(until) = waits {
            let micros = until.saturating_duration_since(now).as_micros();
            let _ = writeln!(message, "EXTEND_TIMEOUT_USEC={micros}");
        }
        let status = self.status_of(progress);
        if status != self.status {
            let _ = writeln!(message, "STATUS={status}");
        }
        if self.watchdog.is_some() && progress.polled {
            message.push_str("WATCHDOG=1\n");
        }

        let mut again = self.watchdog;
        if !message.is_empty() {
            match self.socket.send(&message, None) {
                Ok(()) => {
                    self.ready |= ready;
                    self.stopping |= stopping;
                    self.waits = waits.or(self.waits);
                    self.status = status;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    again = Some(again.map_or(RETRY, |again| again.min(RETRY)));
                }
                // Try again at the next event: it may come back.
                Err(error) => {
                    if !mem::replace(&mut self.warned, true) {
                        warn(&error);
                    }
                }
            }
        }
        if let Some(again) = again {
            progress.call_again_within(again);
        }
    }

    /// Returns until when to ask systemd to wait, if it has to be asked.
    ///
    /// Once is enough, but for this: when systemd is told to stop a service that is stopping by
    /// itself, it forgets what it was asked before. So each event brings a request.
    fn waits_until(&self, progress: &Progress, now: Instant) -> Option<Instant> {
        let is_new = self.waits.is_none() || progress.event.is_some();
        let is_stopping = (Phase::LameDuck..Phase::Drained).contains(&progress.phase);
        let left = progress.left.filter(|_| is_stopping && is_new)?;
        now.checked_add(left)?.checked_add(MARGIN)
    }

    /// Returns the status, as one line.
    fn status_of(&self, progress: &Progress) -> String {
        let mut status = if progress.phase > Phase::Running {
            progress.to_string()
        } else if !progress.ready {
            progress.readiness().to_string()
        } else if self.watchdog.is_some() {
            let mut running = progress.clone();
            running.event = None;
            running.to_string()
        } else {
            // This status may stand for weeks.
            progress.phase.to_string()
        };
        status = status.replace(char::is_control, " ");
        status.truncate(floor_char_boundary(&status, LONGEST));
        status
    }
}

/// Returns the last place at or before `index` where `text` can be cut.
fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len()))
        .rev()
        .find(|&place| text.is_char_boundary(place))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsString,
        future::pending,
        io::ErrorKind,
        os::{
            linux::net::SocketAddrExt,
            unix::net::{SocketAddr, UnixDatagram},
        },
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use futures_lite::future::{block_on, poll_once};

    use super::{LONGEST, Notifier};
    use crate::{Drain, Phase, Progress, Shutdown, systemd::socket::NotifySocket};

    const SECOND: Duration = Duration::from_secs(1);

    /// What systemd is in these tests.
    struct Systemd {
        socket: UnixDatagram,
        address: OsString,
    }

    impl Systemd {
        fn new() -> Self {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("async-drain.notify.{}.{next}", std::process::id());
            let socket =
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
            socket.set_nonblocking(true).unwrap();
            let address = format!("@{name}").into();
            Self { socket, address }
        }

        fn notifier(&self, watchdog: Option<Duration>) -> Notifier {
            Notifier::new(NotifySocket::to(&self.address).unwrap(), watchdog)
        }

        /// Returns the next message; `None` if there is none.
        fn hears(&self) -> Option<String> {
            let mut message = [0; 8192];
            match self.socket.recv(&mut message) {
                Ok(len) => Some(String::from_utf8(message[..len].to_vec()).unwrap()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Returns what a hook is told: that the program has started, that it drains with a guard of
    /// this label in flight, and that it is drained.
    fn told(grace: Duration, label: &'static str) -> Vec<Progress> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let drain = Drain::tracked();
        let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>())
            .grace(grace)
            .on_progress(SECOND, {
                let told = Arc::clone(&told);
                move |progress| told.lock().unwrap().push(progress.clone())
            });
        block_on(async {
            let mut run = Box::pin(shutdown.run(pending::<()>()));
            assert!(poll_once(&mut run).await.is_none());
            let guard = drain.guard().unwrap().labeled(label);
            drain.begin();
            assert!(poll_once(&mut run).await.is_none());
            drop(guard);
            assert!(run.await.is_drained());
        });
        drop(drain);
        let told = Arc::into_inner(told).unwrap().into_inner().unwrap();
        let phases: Vec<_> = told.iter().map(|progress| progress.phase).collect();
        assert_eq!(phases, [Phase::Running, Phase::Draining, Phase::Drained]);
        told
    }

    /// Returns the number of microseconds that a message asks for, if it does.
    fn extension(message: &str) -> Option<u64> {
        let mut lines = message.lines();
        lines.find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC=")?.parse().ok())
    }

    #[test]
    fn systemd_is_told_of_readiness_and_of_the_stop_with_one_extension() {
        let systemd = Systemd::new();
        let mut notifier = systemd.notifier(None);
        let told = told(10 * SECOND, "GET /");
        let [running, draining, drained] = told.as_slice() else {
            unreachable!()
        };
        notifier.tell(running);
        notifier.tell(running);
        assert_eq!(systemd.hears().unwrap(), "READY=1\nSTATUS=running\n");

        notifier.tell(draining);
        let stopping = systemd.hears().unwrap();
        // The grace period, the abort grace of a second, and one second more.
        let micros = extension(&stopping).unwrap();
        assert!((11_500_000..=12_000_000).contains(&micros), "{stopping}");
        let expected = format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={micros}\n\
             STATUS=begun by the program: draining, 1 in flight, at most 11 s, oldest GET / 0 s"
        );
        assert!(stopping.starts_with(&expected), "{stopping}");

        // Time passes: a new status, and nothing else.
        let mut later = draining.clone();
        later.event = None;
        later.left = Some(9 * SECOND);
        notifier.tell(&later);
        let message = systemd.hears().unwrap();
        assert!(message.starts_with("STATUS=draining, 1 in flight, at most 9 s"));
        assert_eq!(message.lines().count(), 1, "{message}");

        notifier.tell(drained);
        let message = systemd.hears().unwrap();
        assert_eq!(message, "STATUS=all work has finished: drained\n");
        assert_eq!(systemd.hears(), None);
    }

    /// An operator may stop a service that is stopping by itself.
    #[test]
    fn a_request_to_stop_extends_the_timeout_again() {
        let systemd = Systemd::new();
        let mut notifier = systemd.notifier(None);
        let told = told(10 * SECOND, "GET /");
        let mut draining = told[1].clone();
        notifier.tell(&draining);
        assert!(extension(&systemd.hears().unwrap()).is_some());
        draining.event = Some("SIGTERM".into());
        notifier.tell(&draining);
        let message = systemd.hears().unwrap();
        assert!(extension(&message).is_some());
        assert!(!message.contains("STOPPING"), "{message}");
    }

    #[test]
    fn without_a_limit_the_timeout_of_the_unit_holds() {
        let systemd = Systemd::new();
        let mut notifier = systemd.notifier(None);
        notifier.tell(&told(Duration::MAX, "GET /")[1]);
        let message = systemd.hears().unwrap();
        assert!(message.starts_with("STOPPING=1\nSTATUS="), "{message}");
    }

    #[test]
    fn a_watched_service_says_at_each_call_that_it_is_alive() {
        let systemd = Systemd::new();
        let mut notifier = systemd.notifier(Some(SECOND));
        let told = told(10 * SECOND, "GET /");
        notifier.tell(&told[0]);
        let ready = systemd.hears().unwrap();
        assert_eq!(ready, "READY=1\nSTATUS=running, 0 in flight\nWATCHDOG=1\n");
        notifier.tell(&told[0]);
        assert_eq!(systemd.hears().unwrap(), "WATCHDOG=1\n");
        notifier.tell(&told[1]);
        assert!(systemd.hears().unwrap().ends_with("\nWATCHDOG=1\n"));
    }

    /// A service whose executor is blocked is not alive.
    #[test]
    fn a_call_that_the_executor_did_not_make_is_no_sign_of_life() {
        let systemd = Systemd::new();
        let mut notifier = systemd.notifier(Some(SECOND));
        let mut told = told(10 * SECOND, "GET /");
        told[0].polled = false;
        notifier.tell(&told[0]);
        let ready = systemd.hears().unwrap();
        assert_eq!(ready, "READY=1\nSTATUS=running, 0 in flight\n");
        notifier.tell(&told[0]);
        assert_eq!(systemd.hears(), None);
    }

    /// A service that is slow to start is not ready.
    #[test]
    fn what_holds_the_drain_holds_the_readiness_back() {
        let systemd = Systemd::new();
        let mut notifier = systemd.notifier(None);
        let drain = Drain::new();
        let hold = drain.readiness().hold("cold\nREADY=1");
        let (tell, told) = mpsc::channel();
        let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>())
            .on_progress(SECOND, move |progress| tell.send(progress.clone()).unwrap());
        let mut run = Box::pin(shutdown.run(pending::<()>()));
        assert!(block_on(poll_once(&mut run)).is_none());
        notifier.tell(&told.recv().unwrap());
        assert_eq!(systemd.hears().unwrap(), "STATUS=not ready: cold READY=1\n");
        drop(hold);
        assert!(block_on(poll_once(&mut run)).is_none());
        notifier.tell(&told.recv().unwrap());
        assert_eq!(systemd.hears().unwrap(), "READY=1\nSTATUS=running\n");
        drain.begin();
        assert!(block_on(run).is_drained());
    }

    /// A label may come from a peer.
    #[test]
    fn a_label_cannot_say_anything_to_systemd_itself() {
        let systemd = Systemd::new();
        let mut notifier = systemd.notifier(None);
        notifier.tell(&told(SECOND, "GET /\nMAINPID=1\nREADY=1")[1]);
        let message = systemd.hears().unwrap();
        assert_eq!(message.lines().count(), 3, "{message}");
        assert!(message.contains("oldest GET / MAINPID=1 READY=1 0 s"));

        // What is too long would not be read at all. Each of these is three bytes.
        let label = Box::leak("…".repeat(2000).into_boxed_str());
        let mut notifier = systemd.notifier(None);
        notifier.tell(&told(SECOND, label)[1]);
        let message = systemd.hears().unwrap();
        assert!(message.len() < LONGEST + 100, "{message}");
        assert!(message.contains("STOPPING=1"), "{message}");
    }

    #[test]
    fn a_supervisor_that_is_gone_neither_blocks_nor_ends_the_program() {
        let systemd = Systemd::new();
        let mut notifier = systemd.notifier(Some(SECOND));
        let Systemd { socket, address } = systemd;
        drop(socket);
        let told = told(SECOND, "GET /");
        notifier.tell(&told[0]);
        // If it comes back, it is told what it has missed.
        let name = address.to_str().unwrap().trim_start_matches('@');
        let socket =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        let systemd = Systemd { socket, address };
        notifier.tell(&told[0]);
        assert!(systemd.hears().unwrap().starts_with("READY=1\n"));
    }

    #[test]
    fn a_supervisor_that_is_slow_to_read_is_told_later() {
        let systemd = Systemd::new();
        let other = NotifySocket::to(&systemd.address).unwrap();
        while other.send("STATUS=noise", None).is_ok() {}
        let mut notifier = systemd.notifier(None);
        let told = told(SECOND, "GET /");
        notifier.tell(&told[0]);
        while systemd.hears().is_some_and(|noise| noise == "STATUS=noise") {}
        assert_eq!(systemd.hears(), None);
        notifier.tell(&told[0]);
        assert_eq!(systemd.hears().unwrap(), "READY=1\nSTATUS=running\n");
    }

    #[test]
    fn an_address_of_another_kind_is_an_error() {
        for address in ["", "relative/path", "vsock:2:1234", "@"] {
            let socket = NotifySocket::to(address.as_ref());
            let sent = socket.and_then(|socket| socket.send("READY=1", None));
            assert!(sent.is_err(), "{address}");
        }
    }
}
