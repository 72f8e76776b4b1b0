//! What an operator reads in the log while a program stops.

use std::{
    convert::Infallible,
    future::{pending, ready},
    mem,
    net::{TcpListener, TcpStream},
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use async_drain::{
    Drain, Shutdown,
    hyper::{Limits, Server},
};
use async_executor::LocalExecutor;
use async_io::Async;
use futures_lite::{
    AsyncReadExt, AsyncWriteExt,
    future::{block_on, or, poll_once},
    stream,
};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use log::{LevelFilter, Log, Metadata, Record};

/// What has been logged.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {} {}", record.target(), record.level(), record.args());
        // Other tests may use libraries that log.
        if record.target() == "async_drain" {
            LOGGED.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

/// Installs the logger, which the test has for itself until it drops what this returns.
fn install() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static ONCE: Once = Once::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    ONCE.call_once(|| {
        log::set_logger(&Logger).expect("no other logger");
        log::set_max_level(LevelFilter::Trace);
    });
    logged();
    turn
}

fn logged() -> Vec<String> {
    mem::take(&mut LOGGED.lock().unwrap())
}

/// One line for each change, warnings from the abort on, and the abandoned work in groups.
#[test]
fn a_log_tells_what_happened_and_what_was_abandoned() {
    let _turn = install();
    let drain = Drain::tracked();
    let exports: Vec<_> = (0..2998)
        .map(|_| drain.guard().unwrap().labeled("GET /export"))
        .collect();
    let upload = drain.guard().unwrap().labeled("POST /upload");
    let shutdown = Shutdown::with_timer(&drain, |_| ready(()))
        .on(stream::once(()))
        .grace(Duration::from_secs(10))
        .on_progress(Duration::from_secs(5), async_drain::log::progress());
    let report = block_on(shutdown.run(pending::<()>()));
    assert_eq!(report.still_running(), 2999);
    let lines = logged();
    let starts = [
        "async_drain INFO started: running, 2999 in flight",
        "async_drain INFO a request to stop: draining, 2999 in flight, at most 11 s, oldest GET /export ",
        "async_drain WARN the grace period is over: aborting, 2999 in flight, at most ",
        "async_drain WARN still in flight: GET /export ×2,998, oldest ",
        "async_drain WARN still in flight: POST /upload",
        "async_drain WARN the abort grace is over: aborting, 2999 in flight, oldest GET /export ",
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:?}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    // The oldest and two more.
    assert_eq!(
        lines[1].matches("from tests/adapters/log.rs:").count(),
        3,
        "{}",
        lines[1]
    );
    drop((exports, upload));
}

/// From half of the grace period on, the lines in between are warnings.
#[test]
fn half_of_the_grace_period_makes_lines_warnings() {
    let _turn = install();
    let line_after = |grace: u64, every: u64| {
        let drain = Drain::new();
        let _work = drain.guard().unwrap();
        let hour = Duration::from_secs(3600);
        // The hook is due at once, and only once. The grace period never ends.
        let (began, fired) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let timer = move |deadline: Instant| {
            let fired = Arc::clone(&fired);
            async move {
                if deadline > began + hour || fired.swap(true, Ordering::Relaxed) {
                    pending::<()>().await;
                }
            }
        };
        let mut hook = async_drain::log::progress();
        let (tell, told) = mpsc::channel();
        let shutdown = Shutdown::with_timer(&drain, timer)
            .grace(hour + Duration::from_secs(grace))
            .on_progress(Duration::from_secs(every), move |progress| {
                hook(progress);
                let _ = tell.send(());
            });
        drain.begin();
        let mut run = pin!(shutdown.run(pending::<()>()));
        assert!(block_on(poll_once(run.as_mut())).is_none());
        told.recv().unwrap();
        told.recv().unwrap();
        logged()[1].clone()
    };
    let early = line_after(10, 1000);
    assert!(
        early.starts_with("async_drain INFO draining, 1 in flight, at most "),
        "{early}"
    );
    let late = line_after(10, 3000);
    assert!(
        late.starts_with("async_drain WARN draining, 1 in flight, at most "),
        "{late}"
    );
}

/// A supervisor that can't be told of the service is a warning, and the service goes on.
#[cfg(target_os = "linux")]
#[test]
fn a_log_tells_once_that_systemd_is_gone() {
    use std::{env, process::Command};

    const NAME: &str = "log::a_log_tells_once_that_systemd_is_gone";
    const GONE: &str = "/nowhere/notify";
    if env::var("NOTIFY_SOCKET").is_ok_and(|socket| socket == GONE) {
        let _turn = install();
        let drain = Drain::new();
        let shutdown = Shutdown::new(&drain)
            .on(stream::once(()))
            .on_progress(Duration::MAX, async_drain::systemd::notify());
        assert!(block_on(shutdown.run(pending::<()>())).is_drained());
        let lines = logged();
        let start = "async_drain WARN systemd can't be told of the service: ";
        assert!(
            lines.len() == 1 && lines[0].starts_with(start),
            "one warning: {lines:?}"
        );
        return;
    }
    // In a process of its own, which has a variable that others don't.
    let mut test = Command::new(env::current_exe().unwrap());
    test.args(["--exact", NAME]).env("NOTIFY_SOCKET", GONE);
    let output = test.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{printed}"
    );
}

/// Z14: what an age grace cuts at work is named, with its peer; an idle connection is not cut.
#[test]
fn a_log_names_what_an_age_grace_has_cut() {
    const SHORT: Duration = Duration::from_millis(100);

    let _turn = install();
    for (drain, work) in [(Drain::tracked(), ", GET /never 0."), (Drain::new(), "")] {
        let executor = Rc::new(LocalExecutor::new());
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
        let addr = listener.get_ref().local_addr().unwrap();
        let spawner = Rc::clone(&executor);
        let serving = Server::local(&drain, move |task| spawner.spawn(task).detach())
            .limits(Limits::new().age(SHORT).age_grace(SHORT))
            .serve(
                listener,
                service_fn(|_: Request<Incoming>| async {
                    pending::<()>().await;
                    Ok::<_, Infallible>(Response::new(String::new()))
                }),
            );
        let peer = async {
            let mut idle = Async::<TcpStream>::connect(addr).await.unwrap();
            let mut busy = Async::<TcpStream>::connect(addr).await.unwrap();
            let head = b"GET /never HTTP/1.1\r\nhost: test\r\n\r\n";
            busy.write_all(head).await.unwrap();
            for conn in [&mut idle, &mut busy] {
                let _ = conn.read_to_end(&mut Vec::new()).await;
            }
            busy.get_ref().local_addr().unwrap()
        };
        let serving = async {
            serving.await.unwrap();
            unreachable!("the drain runs");
        };
        let peer = block_on(executor.run(or(peer, serving)));
        let lines = logged();
        let [line] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert!(
            line.starts_with("async_drain WARN cut at the age of 0."),
            "{line}"
        );
        assert!(line.contains(&format!(" s: {peer}{work}")), "{line}");
        let place = line.contains(", from tests/adapters/log.rs:");
        assert_eq!(place, !work.is_empty(), "{line}");
    }
}
