//! Times that no timer ever reaches, and a process that was frozen when its time was up (L3).

use crate::support::client::Conn;
use crate::support::h2::{Answer, H2Conn};
use crate::support::process::Server;
use crate::support::server;
use crate::support::subject::{
    ask, at_once, connect, drained, end, hyper, idle, overtaken, refused, two_of_three,
};
use futures_lite::future::block_on;
use rustix::process::Signal;
use smol::channel;
use std::thread;
use std::time::{Duration, Instant};

use async_drain::{Drain, Phase, Report, Shutdown};

/// The longest time that a setting can express: half a billion years.
const FOR_EVER: &str = "18446744073709551615";

/// Returns the longest time from now on that `Instant` can express.
fn latest() -> Duration {
    let now = Instant::now();
    let fits = |seconds| now.checked_add(Duration::from_secs(seconds)).is_some();
    let bits = (0..64).rev().map(|bit| 1_u64 << bit);
    let most = bits.fold(
        0,
        |most, bit| if fits(most + bit) { most + bit } else { most },
    );
    Duration::from_secs(most)
}

/// L3: a budget that overflows `Instant`, or almost does, means no budget and causes no panic, with
/// a timer or with the watchdog.
#[test]
fn a_budget_that_overflows_means_no_budget() {
    for budget in [Duration::MAX, latest(), latest() / 2] {
        for watched in [false, true] {
            let drain = Drain::new();
            let work = drain.guard().expect("a running drain");
            let (stop, requests) = channel::unbounded();
            let shutdown = Shutdown::new(&drain)
                .on(requests)
                .lame_duck(budget)
                .grace(budget)
                .abort_grace(budget);
            let operator = thread::spawn({
                let (lame_duck, draining) = (drain.until_lame_duck(), drain.until_draining());
                move || {
                    stop.try_send(()).expect("the server listens");
                    lame_duck.wait();
                    // Not merged with the first request.
                    thread::sleep(Duration::from_millis(260));
                    stop.try_send(()).expect("the server listens");
                    draining.wait();
                    drop(work);
                }
            });
            let server = std::future::pending::<()>();
            let report = if watched {
                let stuck = |report: &Report| panic!("nothing blocks the executor: {report}");
                block_on(shutdown.run_with_watchdog(server, stuck)).expect("room for a thread")
            } else {
                block_on(shutdown.run(server))
            };
            assert!(report.is_drained(), "{report}");
            assert_eq!(drain.phase(), Phase::Drained);
            operator.join().expect("no panic");
        }
    }
}

/// L3: a server whose times are all as long as possible does not spin, and ends with its work.
#[cfg(target_os = "linux")]
#[test]
fn times_without_end_neither_panic_nor_spin() {
    const ENV: [(&str, &str); 4] = [
        ("GRACE_MS", FOR_EVER),
        ("ABORT_GRACE_MS", FOR_EVER),
        ("KEEP_ALIVE_GRACE_MS", FOR_EVER),
        ("FIRST_REQUEST_GRACE_MS", FOR_EVER),
    ];
    for subject in ["hyper", "local"] {
        let mut server = Server::start(server(subject), &ENV).expect("a server");
        let idle = idle(&server);
        let silent = connect(&server);
        let mut short = ask(&server, "/sleep/1000");
        let mut long = ask(&server, "/sleep/1500");
        server.signal(Signal::TERM).expect("a live process");
        refused(server.addr());
        let before = server.processor_time().expect("a live process");
        short.read_response().expect("an answer");
        let after = server.processor_time().expect("a live process");
        long.read_response().expect("an answer");
        drop((idle, silent));
        drained(&mut server);
        let busy = after.saturating_sub(before);
        assert!(
            busy < Duration::from_millis(100),
            "{subject}: {busy:?} in about a second"
        );
    }
}

const GRACE: Duration = Duration::from_millis(300);

/// L3: a process that is frozen until its grace period is over ends at once when it is thawed, and
/// reports what it has cut.
#[test]
fn an_overslept_grace_period_ends_at_once() {
    let settings = [("GRACE_MS", "300"), ("ABORT_GRACE_MS", "5000")];
    for subject in ["hyper", "local"] {
        two_of_three(at_once(), || {
            let mut server = Server::start(server(subject), &settings).expect("a server");
            let _conn = ask(&server, "/sleep/60000");
            server.signal(Signal::TERM).expect("a live process");
            refused(server.addr());
            server.stop().expect("a live process");
            thread::sleep(GRACE * 2);
            let thawed = Instant::now();
            server.cont().expect("a live process");
            let exit = end(&mut server);
            assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
            let named = "still in flight: GET /sleep/60000, for ";
            assert!(exit.stderr.contains(named), "{}", exit.stderr);
            assert!(exit.report.starts_with("aborted: "), "{}", exit.stderr);
            exit.at.saturating_duration_since(thawed)
        });
    }
}

/// L3: a signal that arrives while the process is frozen is seen when it is thawed, and the grace
/// period starts then.
#[test]
fn a_signal_to_a_frozen_process_has_its_whole_grace_period() {
    let mut server = hyper(&[("GRACE_MS", "2000")]);
    let mut conn = ask(&server, "/sleep/1500");
    server.stop().expect("a live process");
    server.signal(Signal::TERM).expect("a live process");
    thread::sleep(Duration::from_secs(1));
    server.cont().expect("a live process");
    assert_eq!(conn.read_response().expect("an answer").head.status, 200);
    drop(conn);
    drained(&mut server);
}

/// Z2, Z4: requests that arrive while the process is frozen are answered, even if their grace is
/// over when they are read.
#[test]
fn requests_that_arrive_while_frozen_are_answered() {
    let mut server = hyper(&[
        ("GRACE_MS", "10000"),
        ("KEEP_ALIVE_GRACE_MS", "400"),
        ("FIRST_REQUEST_GRACE_MS", "400"),
    ]);
    let mut http2 = H2Conn::open(server.addr()).expect("the server listens");
    let stream = http2.get("/").expect("an open connection");
    http2.read_answer(stream).expect("an answer");
    let mut idle = idle(&server);
    let mut silent: Conn = connect(&server);
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    server.stop().expect("a live process");
    idle.get("/").expect("an open connection");
    silent.get("/").expect("an open connection");
    let stream = http2.get("/").expect("an open connection");
    thread::sleep(Duration::from_millis(800));
    server.cont().expect("a live process");
    for conn in [&mut idle, &mut silent] {
        assert_eq!(conn.read_response().expect("an answer").head.status, 200);
    }
    let answer = http2.read_answer(stream).expect("an end of the stream");
    let body = b"hello\n".to_vec();
    assert_eq!(answer, Answer::Complete { status: 200, body });
    drop((idle, silent, http2));
    drained(&mut server);
}
