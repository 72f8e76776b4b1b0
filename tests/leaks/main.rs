//! Many drains in one process leave nothing behind: no descriptor, no thread, no memory.
//!
//! `cargo test` plays some drains, `DRAINS=1000 cargo test --release --test leaks` as many as that
//! says. The counts are those of a whole process, so each subject runs in a process of its own:
//! this program with the ignored test below.
#![cfg(target_os = "linux")]

mod drain;
mod level;
use std::{
    env,
    mem::forget,
    net::TcpListener,
    process::{Command, Output},
    thread,
};

use async_drain::Drain;
use level::Level;

/// How many drains it takes until pools, queues and thread-locals have reached their size.
const WARM_UP: usize = 20;

/// The drains of one process, counted before and after.
#[test]
#[ignore = "the other tests run it, each in a process of its own"]
fn subject() {
    let drains =
        env::var("DRAINS").map_or(50, |drains| drains.parse().expect("a number of drains"));
    let leak = env::var("LEAK").unwrap_or_default();
    drain::hush();
    (0..WARM_UP).for_each(drain::play);
    let before = Level::settled();
    for n in 0..drains {
        drain::play(n);
        lose(&leak);
    }
    before.assert_is_back();
}

/// Leaks one thing.
fn lose(leak: &str) {
    match leak {
        "" => {}
        "guard" => forget(Drain::new().guard()),
        "task" => smol::spawn(std::future::pending::<()>()).detach(),
        "descriptor" => forget(TcpListener::bind("127.0.0.1:0").expect("a free port")),
        "thread" => drop(thread::spawn(thread::park)),
        _ => panic!("no such leak: {leak}"),
    }
}

fn run(drains: &str, leak: &str) -> Output {
    Command::new(env::current_exe().expect("the test has a path"))
        .args(["--exact", "subject", "--ignored", "--nocapture"])
        .envs([("DRAINS", drains), ("LEAK", leak), ("SMOL_THREADS", "2")])
        .output()
        .expect("the test can be run")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Requests answered, abandoned, panicking and reset; then everything is dropped.
#[test]
fn drains_leave_nothing_behind() {
    let drains = env::var("DRAINS").unwrap_or_else(|_| "50".into());
    let output = run(&drains, "");
    assert!(output.status.success(), "{}", said(&output));
}

/// The test above notices a leak of one thing per drain.
#[test]
fn a_leak_is_noticed() {
    let leaks = [
        ("guard", "bytes on the heap"),
        ("task", "bytes on the heap"),
        ("descriptor", "descriptors"),
        ("thread", "threads"),
    ];
    let fails = |leak: &str, what: &str| {
        let output = run("50", leak);
        assert_eq!(output.status.code(), Some(101), "{leak}: {}", said(&output));
        let shown = format!("{what} are left over");
        assert!(said(&output).contains(&shown), "{leak}: {}", said(&output));
    };
    thread::scope(|scope| {
        for (leak, what) in leaks {
            scope.spawn(move || fails(leak, what));
        }
    });
}
