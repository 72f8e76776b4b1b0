//! The listener: queued connections are served, later ones are refused, and no error ends it.

use crate::support::client::Conn;
use crate::support::subject::{TIMEOUT, ask, connect, drained, hello, hyper, hyper_after, refused};
use rustix::process::Signal;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

/// Z1: while requests finish, new connections are refused at once.
#[test]
fn a_connect_during_the_drain_is_refused() {
    let mut server = hyper(&[]);
    let mut busy = ask(&server, "/stream/20/100");
    busy.read_head().expect("a head");
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    for _ in 0..10 {
        let error = Conn::open(server.addr()).expect_err("the listener is closed");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    }
    // The drain goes on: more output follows.
    assert!(
        busy.read_body()
            .expect("the whole body")
            .ends_with(b"chunk 19\n")
    );
    drop(busy);
    drained(&mut server);
}

/// Z1: connections that are queued at a frozen process when the signal arrives are all answered: 50
/// of 50.
#[test]
fn all_50_queued_connections_are_answered() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    server.stop().expect("a live process");
    let mut queued: Vec<Conn> = (0..50).map(|_| connect(&server)).collect();
    // The handlers take longer than it takes to see the signal: the signal and the queue arrive at
    // the same moment, and an answer that is sent before the signal was seen does not say `close`.
    for conn in &mut queued {
        conn.get("/sleep/300").expect("an open connection");
    }
    server.signal(Signal::TERM).expect("a live process");
    server.cont().expect("a live process");
    for conn in &mut queued {
        let answer = conn.read_response().expect("a whole answer");
        assert_eq!(
            (answer.head.status, answer.body),
            (200, b"slept\n".to_vec())
        );
        assert!(answer.head.closes(), "{:?}", answer.head);
    }
    drained(&mut server);
}

/// Z1, Z4: so are queued connections that send nothing before the process goes on.
#[test]
fn queued_connections_that_are_silent_are_answered() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    server.stop().expect("a live process");
    let mut queued: Vec<Conn> = (0..20).map(|_| connect(&server)).collect();
    server.signal(Signal::TERM).expect("a live process");
    server.cont().expect("a live process");
    refused(server.addr());
    for conn in &mut queued {
        hello(conn, true);
    }
    drained(&mut server);
}

/// Connects and sends a request again and again until refused; returns the first loss, if there was
/// one.
fn storm(addr: SocketAddr, answered: &AtomicUsize) -> Option<Error> {
    loop {
        let mut conn = match Conn::open(addr) {
            Ok(conn) => conn,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return None,
            // The connection was not established, so nothing was promised.
            Err(error) if error.kind() == ErrorKind::TimedOut => return None,
            Err(error) => return Some(error),
        };
        if let Err(error) = conn.get("/").and_then(|()| conn.read_response()) {
            return Some(error);
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Z1: a storm of connects loses none, even if the process is frozen at the worst moment.
#[test]
fn a_connect_storm_loses_no_connection() {
    for _ in 0..5 {
        let mut server = hyper(&[]);
        let addr = server.addr();
        let answered = AtomicUsize::new(0);
        let lost: Vec<_> = thread::scope(|scope| {
            let clients: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| storm(addr, &answered)))
                .collect();
            while answered.load(Ordering::Relaxed) < 100
                && !clients.iter().all(ScopedJoinHandle::is_finished)
            {
                thread::yield_now();
            }
            server.stop().expect("a live process");
            server.signal(Signal::TERM).expect("a live process");
            thread::sleep(Duration::from_millis(30));
            server.cont().expect("a live process");
            let ends = clients
                .into_iter()
                .map(|client| client.join().expect("no panic"));
            ends.flatten().map(|error| error.to_string()).collect()
        });
        assert_eq!(lost, Vec::<String>::new());
        drained(&mut server);
    }
}

/// Z10: a server without free descriptors goes on when there are some, and still drains.
#[test]
fn running_out_of_descriptors_does_not_end_the_server() {
    let mut server = hyper_after("ulimit -n 32");
    // More connections than descriptors; the kernel queues the rest.
    let mut conns: Vec<Conn> = (0..48).map(|_| connect(&server)).collect();
    let mut rest = conns.split_off(40);
    for conn in &mut conns {
        conn.get("/").expect("an open connection");
    }
    // Each connection that is answered frees a descriptor.
    for (n, mut conn) in conns.into_iter().enumerate() {
        let answer = conn.read_response();
        assert!(answer.is_ok(), "{n}: {answer:?}");
    }
    for conn in &mut rest {
        hello(conn, false);
    }
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    for conn in &mut rest {
        hello(conn, true);
        assert!(conn.is_eof(TIMEOUT).expect("no reset"));
    }
    drained(&mut server);
}

/// Z1, Z10: connections that are queued when descriptors have run out are all answered, though that
/// takes longer than the half second that a retired listener waits for connection requests: idle
/// connections keep their descriptors for that time.
#[test]
fn all_100_connections_queued_without_descriptors_are_answered() {
    let mut server = hyper_after("ulimit -n 24; export GRACE_MS=8000");
    let mut idle: Vec<Conn> = (0..8).map(|_| connect(&server)).collect();
    for conn in &mut idle {
        hello(conn, false);
    }
    server.stop().expect("a live process");
    let mut queued: Vec<Conn> = (0..100).map(|_| connect(&server)).collect();
    for conn in &mut queued {
        // Long enough to be answered after the signal was seen, as in
        // `all_50_queued_connections_are_answered`.
        conn.get("/sleep/100").expect("an open connection");
    }
    server.signal(Signal::TERM).expect("a live process");
    server.cont().expect("a live process");
    for (n, conn) in queued.iter_mut().enumerate() {
        let answer = conn.read_response();
        assert!(answer.is_ok(), "{n}: {answer:?}");
    }
    drained(&mut server);
}
