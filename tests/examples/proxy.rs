use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use testkit::process::Server;

use crate::{TIMEOUT, example};

/// The size of a message and of its answer.
const SIZE: usize = 10_000;

/// Starts a server that sends each message back after a moment.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound listener");
    thread::spawn(move || {
        for conn in listener.incoming() {
            let mut conn = conn.expect("a connection");
            thread::spawn(move || {
                let mut message = [0; SIZE];
                while conn.read_exact(&mut message).is_ok() {
                    thread::sleep(Duration::from_millis(5));
                    if conn.write_all(&message).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

fn proxy(upstream: SocketAddr) -> Server {
    let upstream = upstream.to_string();
    Server::start(example("proxy"), &[("UPSTREAM", &upstream)]).expect("it starts")
}

fn connect(addr: SocketAddr) -> Option<TcpStream> {
    let conn = TcpStream::connect_timeout(&addr, TIMEOUT).ok()?;
    conn.set_read_timeout(Some(TIMEOUT))
        .expect("an open socket");
    Some(conn)
}

fn ask(conn: &mut TcpStream) {
    conn.write_all(&[b'm'; SIZE]).expect("no reset");
    let mut answer = [0; SIZE];
    conn.read_exact(&mut answer).expect("a whole answer");
    assert_eq!(answer, [b'm'; SIZE]);
}

/// Z1, Z5, Z8: a proxy that stops loses nothing of a storm of clients: each message is answered.
#[test]
fn a_storm_through_the_proxy_loses_nothing() {
    const CLIENTS: usize = 8;
    let mut proxy = proxy(upstream());
    let addr = proxy.addr();
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some(mut conn) = connect(addr) {
                    for _ in 0..10 {
                        ask(&mut conn);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        while answered.load(Ordering::Relaxed) < 200 {
            thread::yield_now();
        }
        proxy.signal(Signal::TERM).expect("it runs");
    });
    let exit = proxy.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
}

/// A quiet client does not delay the exit until the grace period ends, and a client that goes on is
/// not cut in the middle of a message.
#[test]
fn the_proxy_ends_when_nothing_moves() {
    let mut proxy = proxy(upstream());
    let mut quiet = connect(proxy.addr()).expect("it listens");
    let mut chatty = connect(proxy.addr()).expect("it listens");
    ask(&mut quiet);
    ask(&mut chatty);
    proxy.signal(Signal::TERM).expect("it runs");
    // Half a message, and the rest later: the sum is longer than the allowed pause.
    for _ in 0..5 {
        chatty.write_all(&[b'm'; SIZE / 2]).expect("no reset");
        thread::sleep(Duration::from_millis(300));
        chatty.write_all(&[b'm'; SIZE / 2]).expect("no reset");
        chatty.read_exact(&mut [0; SIZE]).expect("a whole answer");
    }
    for mut conn in [quiet, chatty] {
        assert_eq!(conn.read(&mut [0]).expect("no reset"), 0);
    }
    let exit = proxy.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    let bounds = Duration::from_millis(2500)..Duration::from_secs(6);
    assert!(bounds.contains(&exit.elapsed), "{:?}", exit.elapsed);
}
