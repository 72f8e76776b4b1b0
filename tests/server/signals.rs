//! The operator and the process: once, twice, three times, and too early.

use crate::support::subject::{
    PATIENCE, ask, at_once, connect, drained, end, hello, hyper, idle, refused, two_of_three,
};
use crate::support::{process::Server, server};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Z11, L2: with nobody there, there is nothing to wait for.
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

/// L4, Z12: a second signal cuts what is in flight at once, and the report says so.
#[test]
fn a_second_signal_aborts_at_once() {
    two_of_three(at_once(), || {
        let mut server = hyper(&[]);
        let mut conn = ask(&server, "/sleep/60000");
        server.signal(Signal::TERM).expect("a live process");
        refused(server.addr());
        let second = Instant::now();
        server.signal(Signal::TERM).expect("a live process");
        conn.read_head().expect_err("the connection was cut");
        let exit = end(&mut server);
        assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
        assert!(exit.stderr.contains("GET /sleep/60000"), "{}", exit.stderr);
        // Not how many: the connects of `refused` that were still queued may be among them.
        assert!(exit.report.starts_with("aborted: "), "{}", exit.stderr);
        exit.at.duration_since(second)
    });
}

/// Returns once a server is in lame duck: unready, yet accepting.
fn unready(server: &Server) {
    let patience = Instant::now() + PATIENCE;
    while Instant::now() < patience {
        let mut conn = connect(server);
        conn.get("/readyz").expect("an open connection");
        let answer = conn.read_response().expect("a whole answer");
        // Lame duck may begin between the two.
        if answer.head.status == 503 && answer.head.closes() {
            return;
        }
    }
    panic!("still ready after {PATIENCE:?}");
}

/// L4: a third signal ends the process as if it had never been caught.
#[test]
fn a_third_signal_takes_its_default_action() {
    let mut server = hyper(&[("LAME_DUCK_MS", "60000")]);
    let conn = ask(&server, "/sleep/60000");
    server.signal(Signal::TERM).expect("a live process");
    unready(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    server.signal(Signal::TERM).expect("a live process");
    let exit = end(&mut server);
    assert_eq!(exit.status.signal(), Some(15), "{}", exit.stderr);
    drop(conn);
}

/// Z3, L4: in lame duck the server is unready, serves whoever comes and tells them to leave; then it drains.
#[test]
fn lame_duck_serves_and_then_drains() {
    let lame_duck = Duration::from_secs(1);
    let mut server = hyper(&[("LAME_DUCK_MS", "1000"), ("KEEP_ALIVE_GRACE_MS", "0")]);
    let mut before = idle(&server);
    server.signal(Signal::TERM).expect("a live process");
    unready(&server);
    let mut fresh = connect(&server);
    hello(&mut fresh, true);
    hello(&mut before, true);
    let mut alive = connect(&server);
    alive.get("/livez").expect("an open connection");
    assert_eq!(alive.read_response().expect("an answer").head.status, 200);
    refused(server.addr());
    let exit = drained(&mut server);
    assert!(exit.elapsed >= lame_duck, "it took {:?}", exit.elapsed);
    assert!(
        exit.report.contains("; lame duck 1.0s, draining "),
        "{}",
        exit.report
    );
}

/// L4: a second signal ends lame duck, and nothing is abandoned by it.
#[test]
fn a_second_signal_cuts_lame_duck_short() {
    let mut server = hyper(&[("LAME_DUCK_MS", "60000")]);
    let mut conn = ask(&server, "/sleep/1000");
    server.signal(Signal::TERM).expect("a live process");
    unready(&server);
    server.signal(Signal::INT).expect("a live process");
    refused(server.addr());
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(
        (answer.head.status, answer.body),
        (200, b"slept\n".to_vec())
    );
    drained(&mut server);
}

/// Z11: a signal that comes while the server starts is kept until it serves.
#[test]
fn a_signal_during_start_up_is_kept() {
    // Its first line blocks it between the signals and the server: nobody reads, and there is no room.
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
    let patience = Instant::now() + PATIENCE;
    // It is caught after SIGTERM, by which time that has been heard of: in the microsecond in which signal-hook installs a
    // handler, the signal is lost.
    while !catches_sigint(pid) {
        assert!(Instant::now() < patience, "SIGINT is not caught");
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

/// Reads the mask of caught signals from proc(5).
fn catches_sigint(pid: Pid) -> bool {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).expect("a process that is not reaped");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << 1) != 0)
}
