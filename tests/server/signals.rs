//! Signals that arrive once, twice, three times, and before the server serves.

use crate::support::subject::{
    TIMEOUT, ask, at_once, connect, drained, end, hello, hyper, idle, refused, two_of_three,
};
use crate::support::{process::Server, server};
use async_drain::signal::{self, Signal as Caught};
use async_drain::{Drain, Phase, Shutdown};
use futures_lite::future::{block_on, poll_once};
use futures_lite::{StreamExt, stream};
use rustix::process::{Pid, Signal, kill_process};
use std::any::Any;
use std::future::pending;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

/// Z11, L2: without connections, the server ends at once.
#[test]
fn a_signal_before_the_first_connection_ends_the_process_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        two_of_three(at_once(), || {
            let mut server = hyper(&[]);
            server.signal(signal).expect("a live process");
            let exit = drained(&mut server);
            assert!(
                exit.report.contains("drained: 0 in flight"),
                "{}",
                exit.report
            );
            exit.elapsed
        });
    }
}

/// Slightly longer than the time in which several signals are one request.
const SAME_REQUEST: Duration = Duration::from_millis(260);

/// Sends SIGTERM as another request to a server that has seen an earlier one.
fn request_again(server: &Server) {
    thread::sleep(SAME_REQUEST);
    server.signal(Signal::TERM).expect("a live process");
}

/// L4, Z12: a second signal cuts work in flight at once, and the report says so.
#[test]
fn a_second_signal_aborts_at_once() {
    two_of_three(at_once(), || {
        let mut server = hyper(&[]);
        let mut conn = ask(&server, "/sleep/60000");
        server.signal(Signal::TERM).expect("a live process");
        refused(server.addr());
        request_again(&server);
        let second = Instant::now();
        conn.read_head().expect_err("the connection was cut");
        let exit = end(&mut server);
        assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
        assert!(exit.stderr.contains("GET /sleep/60000"), "{}", exit.stderr);
        // The number is open: connects of `refused` that were still queued may be among them.
        assert!(exit.report.starts_with("aborted: "), "{}", exit.stderr);
        exit.at.duration_since(second)
    });
}

/// Returns once a server is in lame duck, i.e. unready but accepting.
fn unready(server: &Server) {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        let mut conn = connect(server);
        conn.get("/readyz").expect("an open connection");
        let answer = conn.read_response().expect("a whole answer");
        // Lame duck may begin between the two.
        if answer.head.status == 503 && answer.head.closes() {
            return;
        }
    }
    panic!("still ready after {TIMEOUT:?}");
}

/// L4: a third signal ends the process as if signals had never been caught.
#[test]
fn a_third_signal_takes_its_default_action() {
    let mut server = hyper(&[("LAME_DUCK_MS", "60000")]);
    let conn = ask(&server, "/sleep/60000");
    server.signal(Signal::TERM).expect("a live process");
    unready(&server);
    request_again(&server);
    refused(server.addr());
    request_again(&server);
    let exit = end(&mut server);
    assert_eq!(exit.status.signal(), Some(15), "{}", exit.stderr);
    drop(conn);
}

/// Z3, L4: in lame duck the server is unready, serves new peers, and tells those that were there
/// before to leave; then it drains.
#[test]
fn lame_duck_serves_and_then_drains() {
    let lame_duck = Duration::from_secs(1);
    let mut server = hyper(&[("LAME_DUCK_MS", "1000"), ("KEEP_ALIVE_GRACE_MS", "0")]);
    let mut before = idle(&server);
    server.signal(Signal::TERM).expect("a live process");
    unready(&server);
    let mut fresh = connect(&server);
    hello(&mut fresh, false);
    hello(&mut before, true);
    let mut alive = connect(&server);
    alive.get("/livez").expect("an open connection");
    assert_eq!(alive.read_response().expect("an answer").head.status, 200);
    refused(server.addr());
    let exit = drained(&mut server);
    assert!(exit.elapsed >= lame_duck, "it took {:?}", exit.elapsed);
    assert!(exit.report.contains("; lame duck 1."), "{}", exit.report);
}

/// L4: a second signal ends lame duck, and abandons nothing.
#[test]
fn a_second_signal_cuts_lame_duck_short() {
    let mut server = hyper(&[("LAME_DUCK_MS", "60000")]);
    let mut conn = ask(&server, "/sleep/1000");
    server.signal(Signal::TERM).expect("a live process");
    unready(&server);
    thread::sleep(SAME_REQUEST);
    server.signal(Signal::INT).expect("a live process");
    refused(server.addr());
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(
        (answer.head.status, answer.body),
        (200, b"slept\n".to_vec())
    );
    drained(&mut server);
}

/// L4: several signals at once, as wrappers and process groups send them, are one request.
#[test]
fn a_request_that_arrives_as_two_signals_cuts_nothing() {
    for signals in [[Signal::TERM; 3], [Signal::TERM, Signal::INT, Signal::TERM]] {
        let mut server = hyper(&[]);
        let mut conn = ask(&server, "/sleep/1000");
        for signal in signals {
            server.signal(signal).expect("a live process");
            thread::sleep(Duration::from_millis(60));
        }
        let answer = conn.read_response().expect("a whole answer");
        assert_eq!(answer.body, b"slept\n");
        drained(&mut server);
    }
}

/// L4: after a handler has begun the drain, the first signal cuts nothing.
#[test]
fn a_signal_after_a_beginning_by_hand_cuts_nothing() {
    let mut server = hyper(&[]);
    let mut conn = ask(&server, "/sleep/1500");
    let mut begin = connect(&server);
    begin.get("/begin").expect("an open connection");
    begin.read_response().expect("an answer");
    refused(server.addr());
    request_again(&server);
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(answer.body, b"slept\n");
    drained(&mut server);
}

/// What this test's own program does as the process of [`Role::start`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    /// Catches the termination signals, and polls nothing.
    Blocked,
    /// Has dropped the stream of signals again.
    Dropped,
    /// Catches SIGHUP for a purpose of its own.
    Reloads,
    /// Has given a shutdown a stream for each of [`TOGETHER`], and polls nothing.
    Together,
    /// Has given each of these streams to a shutdown of its own.
    Apart,
    /// Has seen two requests that no signal made, and polls nothing from then on.
    Asked,
}

const ROLES: [Role; 6] = [
    Role::Blocked,
    Role::Dropped,
    Role::Reloads,
    Role::Together,
    Role::Apart,
    Role::Asked,
];
const TOGETHER: [Caught; 4] = [Caught::Term, Caught::Hup, Caught::Usr1, Caught::Usr2];
const READY: &str = "ready for signals";

/// The process of a [`Role`], which is not a test, and its only thread.
#[test]
#[ignore = "a process for other tests"]
fn in_a_role() {
    let Ok(name) = std::env::var("SIGNALS_ROLE") else {
        return;
    };
    let role = ROLES.iter().find(|role| format!("{role:?}") == name);
    let caught: Box<dyn Any> = match role.expect("a role") {
        Role::Blocked => Box::new(signal::termination().expect("signals")),
        Role::Dropped => {
            drop(signal::termination().expect("signals"));
            Box::new(())
        }
        Role::Reloads => Box::new(signal::catch([Caught::Hup]).expect("signals")),
        Role::Together => {
            let streams = TOGETHER.map(|signal| signal::catch([signal]).expect("a signal"));
            let shutdown = Shutdown::new(&Drain::new());
            Box::new(streams.into_iter().fold(shutdown, Shutdown::on))
        }
        Role::Asked => {
            let drain = Drain::new();
            let work = drain.guard().expect("a running drain");
            let (ask, asked) = mpsc::channel();
            // It is polled by hand, so it need not wake.
            let requests = stream::poll_fn(move |_| match asked.try_recv() {
                Ok(()) => Poll::Ready(Some(())),
                Err(_) => Poll::Pending,
            });
            let shutdown = Shutdown::new(&drain)
                .on(requests)
                .on(signal::termination().expect("signals"));
            let mut run = Box::pin(shutdown.run(pending::<()>()));
            for _ in 0..2 {
                thread::sleep(SAME_REQUEST);
                ask.send(()).expect("an open channel");
                assert!(block_on(poll_once(run.as_mut())).is_none());
            }
            assert_eq!(drain.phase(), Phase::Aborting);
            Box::new((run, work))
        }
        Role::Apart => Box::new(TOGETHER.map(|signal| {
            Shutdown::new(&Drain::new()).on(signal::catch([signal]).expect("a signal"))
        })),
    };
    println!("{READY}");
    thread::sleep(TIMEOUT * 6);
    drop(caught);
}

/// A process in a role, which is killed when this is dropped.
struct InRole {
    child: Child,
    pid: Pid,
}

impl InRole {
    /// Starts it with `program`, such as unshare(1), or directly.
    fn start(self_as: Role, program: &[&str]) -> Self {
        let test = std::env::current_exe().expect("a path");
        let mut command = match program {
            [] => Command::new(&test),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&test);
                command
            }
        };
        let mut child = command
            .args(["--exact", "signals::in_a_role", "--ignored", "--nocapture"])
            .env("SIGNALS_ROLE", format!("{self_as:?}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut lines = stdout.lines().map(|line| line.expect("text"));
        assert!(lines.any(|line| line.contains(READY)));
        // The other output is discarded, so that the pipe does not fill up.
        thread::spawn(move || lines.for_each(drop));
        let mut pid = Pid::from_child(&child);
        if !program.is_empty() {
            let path = format!(
                "/proc/{pid}/task/{pid}/children",
                pid = pid.as_raw_nonzero()
            );
            let children = std::fs::read_to_string(path).expect("proc(5)");
            let first = children.split_whitespace().next().expect("a child");
            pid = Pid::from_raw(first.parse().expect("a number")).expect("not zero");
        }
        Self { child, pid }
    }

    /// Sends `signal` until the process ends; returns how many that took, and its status. The
    /// kernel merges signals that are sent too fast.
    fn signal_until_it_ends(
        &mut self,
        signal: Signal,
        limit: usize,
    ) -> (usize, Option<ExitStatus>) {
        self.send_until_it_ends(std::iter::repeat_n(signal, limit))
    }

    /// Sends these signals until the process ends.
    fn send_until_it_ends(
        &mut self,
        signals: impl Iterator<Item = Signal>,
    ) -> (usize, Option<ExitStatus>) {
        let mut sent = 0;
        for signal in signals {
            kill_process(self.pid, signal).expect("a live process");
            sent += 1;
            let asked = Instant::now();
            while asked.elapsed() < SAME_REQUEST {
                if let Some(status) = self.child.try_wait().expect("a child") {
                    return (sent, Some(status));
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        (sent, None)
    }
}

impl Drop for InRole {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// L4: the signal handler itself counts, so that the third signal ends a process whose only thread
/// is blocked.
#[test]
fn a_third_signal_ends_a_process_that_polls_nothing() {
    let mut process = InRole::start(Role::Blocked, &[]);
    // One request, sent three times.
    for _ in 0..3 {
        kill_process(process.pid, Signal::INT).expect("a live process");
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(SAME_REQUEST);
    let (sent, status) = process.signal_until_it_ends(Signal::TERM, 20);
    assert_eq!(status.and_then(|status| status.signal()), Some(15));
    assert!(sent >= 2, "{sent} and one before");
}

/// L4: the signal handler counts the requests of all streams of a shutdown together: of four
/// signals that have a stream each, the third one ends the process.
#[test]
fn a_third_signal_ends_a_process_whichever_stream_caught_the_others() {
    let mut process = InRole::start(Role::Together, &[]);
    let (sent, status) = process.send_until_it_ends(each_twice());
    let ended_by = status.and_then(|status| status.signal()).expect("an end");
    assert!(TOGETHER.iter().any(|signal| *signal as i32 == ended_by));
    assert!(sent >= 3, "{sent}");
}

/// L4: the signal handler knows of the requests that no signal made: after two of these, one signal
/// ends a process that polls nothing.
#[test]
fn a_signal_may_be_the_third_request() {
    let mut process = InRole::start(Role::Asked, &[]);
    // Alone, two signals would not end it.
    let (_, status) = process.signal_until_it_ends(Signal::TERM, 2);
    assert_eq!(status.and_then(|status| status.signal()), Some(15));
}

/// L4: requests to one shutdown don't count for another.
#[test]
fn signals_of_several_shutdowns_are_not_counted_together() {
    let mut process = InRole::start(Role::Apart, &[]);
    assert_eq!(process.send_until_it_ends(each_twice()).1, None);
}

/// Returns each of [`TOGETHER`] twice: alone, none ends the process.
fn each_twice() -> impl Iterator<Item = Signal> {
    TOGETHER.into_iter().chain(TOGETHER).map(number)
}

/// L4: requests are timed by the signal handler: two that a blocked executor finds at once are two.
#[test]
fn signals_that_a_blocked_executor_finds_at_once_are_told_apart() {
    let drain = Drain::new();
    let work = drain.guard().expect("a running drain");
    let shutdown = Shutdown::new(&drain).on(signal::catch([Caught::Usr1]).expect("a signal"));
    // Registered later, so that it sees a signal after that was counted.
    let mut heard = signal::catch([Caught::Usr1]).expect("a signal");
    let mut run = pin!(shutdown.run(pending::<()>()));
    assert!(block_on(poll_once(run.as_mut())).is_none());
    request(&mut heard, Caught::Usr1);
    request(&mut heard, Caught::Usr1);
    assert!(block_on(poll_once(run.as_mut())).is_none());
    assert_eq!(drain.phase(), Phase::Aborting);
    drop(work);
    assert_eq!(block_on(run).stragglers().total(), 1);
}

/// Sends a signal to this process, as another request, and returns once it has been counted.
fn request(heard: &mut signal::Signals, signal: Caught) {
    thread::sleep(SAME_REQUEST);
    kill_process(rustix::process::getpid(), number(signal)).expect("this process");
    assert_eq!(block_on(heard.next()), Some(signal));
}

fn number(signal: Caught) -> Signal {
    Signal::from_named_raw(signal as i32).expect("a signal")
}

/// L4: two requests are told apart even if the later one is found first, because a blocked executor
/// finds both at once and polls its stream first.
#[test]
fn an_earlier_signal_of_a_stream_that_is_polled_later_is_a_request() {
    let (first, second) = (Caught::Usr2, Caught::Alarm);
    let drain = Drain::new();
    let work = drain.guard().expect("a running drain");
    let shutdown = Shutdown::new(&drain)
        .on(signal::catch([second]).expect("a signal"))
        .on(signal::catch([first]).expect("a signal"));
    // Registered later, so that it sees a signal after that was counted.
    let mut heard = signal::catch([first, second]).expect("signals");
    let mut run = pin!(shutdown.run(pending::<()>()));
    assert!(block_on(poll_once(run.as_mut())).is_none());
    request(&mut heard, first);
    request(&mut heard, second);
    assert!(block_on(poll_once(run.as_mut())).is_none());
    assert_eq!(drain.phase(), Phase::Aborting);
    drop(work);
    assert_eq!(block_on(run).stragglers().total(), 1);
}

/// L4: signals that arrived before their streams were given to a shutdown are requests, too.
#[test]
fn signals_that_arrive_before_the_shutdown_is_built_count_together() {
    let drain = Drain::new();
    let work = drain.guard().expect("a running drain");
    let signals = [Caught::Vtalarm, Caught::Prof];
    let streams = signals.map(|signal| signal::catch([signal]).expect("a signal"));
    // Registered later, so that it sees a signal after that was counted.
    let mut heard = signal::catch(signals).expect("signals");
    for signal in signals {
        request(&mut heard, signal);
    }
    let shutdown = streams
        .into_iter()
        .fold(Shutdown::new(&drain), Shutdown::on);
    let mut run = pin!(shutdown.run(pending::<()>()));
    assert!(block_on(poll_once(run.as_mut())).is_none());
    assert_eq!(drain.phase(), Phase::Aborting);
    drop(work);
    assert_eq!(block_on(run).stragglers().total(), 1);
}

/// L4: two streams of the same signal yield each request twice; each counts once. A third would end
/// this process.
#[test]
fn a_request_that_two_streams_yield_counts_once() {
    let drain = Drain::new();
    let work = drain.guard().expect("a running drain");
    let signal = Caught::Winch;
    let shutdown = Shutdown::new(&drain)
        .on(signal::catch([signal]).expect("a signal"))
        .on(signal::catch([signal]).expect("a signal"));
    // Registered later, so that it sees a signal after that was counted.
    let mut heard = signal::catch([signal]).expect("a signal");
    let mut run = pin!(shutdown.run(pending::<()>()));
    assert!(block_on(poll_once(run.as_mut())).is_none());
    request(&mut heard, signal);
    request(&mut heard, signal);
    assert!(block_on(poll_once(run.as_mut())).is_none());
    assert_eq!(drain.phase(), Phase::Aborting);
    drop(work);
    assert_eq!(block_on(run).stragglers().total(), 1);
}

/// L4: signals that are caught for another purpose, e.g. to reload a configuration, end nothing.
#[test]
fn other_signals_are_not_counted_as_requests() {
    let mut process = InRole::start(Role::Reloads, &[]);
    assert_eq!(process.signal_until_it_ends(Signal::HUP, 5).1, None);
}

/// As the first process of a container, from which the kernel keeps signals without a handler: 128
/// + n after the third request, and after any signal once the stream is dropped.
///
/// L4: the process ends by the signal's default action, or as PID 1 with an exit status.
#[test]
fn pid_1_ends_with_128_and_the_signals_number() {
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let probe = Command::new(unshare[0])
        .args(&unshare[1..])
        .arg("true")
        .output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: this machine allows no PID namespaces");
        return;
    }
    for signal in [Signal::TERM, Signal::INT] {
        let mut process = InRole::start(Role::Dropped, &unshare);
        let (sent, status) = process.signal_until_it_ends(signal, 20);
        let wanted = Some(128 + signal.as_raw());
        assert_eq!(status.and_then(|status| status.code()), wanted);
        assert_eq!(sent, 1);

        let mut process = InRole::start(Role::Blocked, &unshare);
        let (sent, status) = process.signal_until_it_ends(signal, 20);
        assert_eq!(status.and_then(|status| status.code()), wanted);
        assert!(sent >= 3, "{sent}");
    }
}

/// Z11: a signal that arrives while the server starts is kept until it serves.
#[test]
fn a_signal_during_start_up_is_kept() {
    // Its first line blocks the server between the signals and serving: its pipe is full and has no
    // reader.
    let (mut reader, writer) = UnixStream::pair().expect("a pair");
    writer.set_nonblocking(true).expect("an open socket");
    while let Ok(size) = (&writer).write(&[b'x'; 4096]) {
        assert!(size > 0);
    }
    writer.set_nonblocking(false).expect("an open socket");
    let mut child = Command::new(server("hyper"))
        .env("ADDR", "127.0.0.1:0")
        .stdout(OwnedFd::from(writer))
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example was built");
    let pid = Pid::from_child(&child);
    let deadline = Instant::now() + TIMEOUT;
    // SIGINT is caught after SIGTERM: a signal that arrives while signal-hook installs a handler is
    // lost.
    while !catches_sigint(pid) {
        assert!(Instant::now() < deadline, "SIGINT is not caught");
    }
    kill_process(pid, Signal::TERM).expect("a live process");
    let mut stdout = Vec::new();
    reader.read_to_end(&mut stdout).expect("an open socket");
    let text = String::from_utf8_lossy(&stdout);
    assert!(text.contains("listening on 127.0.0.1:"));
    let status = child.wait().expect("an end");
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().expect("a pipe");
    pipe.read_to_string(&mut stderr).expect("an open pipe");
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.starts_with("drained: 0 in flight"), "{stderr}");
}

/// Reads the mask of caught signals, see proc(5).
fn catches_sigint(pid: Pid) -> bool {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).expect("a process that is not reaped");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << 1) != 0)
}
