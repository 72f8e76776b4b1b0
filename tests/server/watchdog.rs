//! A handler that blocks the only thread there is (L3).

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{client::Conn, process::Server, server, subject::hello};

const ENV: [(&str, &str); 2] = [("GRACE_MS", "500"), ("ABORT_GRACE_MS", "200")];

/// L3: the process ends within its budget even if nothing can be polled, and the report names the
/// handler.
#[test]
fn a_blocked_executor_does_not_outlive_its_budget() {
    let mut server = Server::start(server("local"), &ENV).expect("a server");
    let mut conn = Conn::open(server.addr()).expect("the server listens");
    // The connection has been idle: its work counts from the call of its handler, not from the
    // handler's return.
    hello(&mut conn, false);
    conn.get("/block/60000").expect("an open connection");
    server
        .wait_for_stderr("blocking", Duration::from_secs(10))
        .expect("the handler has begun");
    server.signal(Signal::TERM).expect("a live process");
    let exit = server.wait(Duration::from_secs(20)).expect("an exit");
    assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
    assert!(
        exit.stderr.contains("the executor is blocked"),
        "{}",
        exit.stderr
    );
    assert!(
        exit.stderr.contains("still in flight: GET /block/60000"),
        "{}",
        exit.stderr
    );
    // The watchdog allows another quarter of a second.
    assert!(
        exit.elapsed >= Duration::from_millis(700),
        "{:?}",
        exit.elapsed
    );
    assert!(exit.elapsed < Duration::from_secs(5), "{:?}", exit.elapsed);
}

/// L3: if nothing is blocked, the watchdog changes nothing.
#[test]
fn an_executor_that_is_not_blocked_reports_itself() {
    let mut server = Server::start(server("local"), &ENV).expect("a server");
    let mut conn = Conn::open(server.addr()).expect("the server listens");
    conn.get("/").expect("an open connection");
    conn.read_response().expect("an answer");
    drop(conn);
    server.signal(Signal::TERM).expect("a live process");
    let exit = server.wait(Duration::from_secs(20)).expect("an exit");
    assert!(exit.status.success(), "{}", exit.stderr);
    assert!(exit.stderr.contains("served 1 requests"), "{}", exit.stderr);
    assert!(exit.report.starts_with("drained: "), "{}", exit.stderr);
}
