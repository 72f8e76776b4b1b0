//! Limits on what a peer may leave unfinished, and hyper's own timers.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use async_drain::{
    Drain,
    hyper::{Limits, Server},
};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::{Async, future::pending};
use testkit::{
    client::Conn,
    h2::{Answer, H2Conn},
    subject::{TIMEOUT, hello},
};

const SHORT: Duration = Duration::from_millis(200);

fn listener() -> (Async<TcpListener>, SocketAddr) {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    (listener, addr)
}

async fn answer(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("hello\n".to_owned()))
}

/// Serves with short limits, for as long as the test runs.
fn serve_with_short_limits() -> (Drain, SocketAddr) {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let serving = Server::new(&drain, |task| smol::spawn(task).detach())
        .limits(Limits::new().head(SHORT).handshake(SHORT))
        .serve(listener, service_fn(answer));
    smol::spawn(serving).detach();
    (drain, addr)
}

/// Returns whether the server closes the connection.
fn is_closed(mut peer: &TcpStream) -> bool {
    peer.set_read_timeout(Some(TIMEOUT)).expect("a socket");
    match peer.read(&mut [0; 1024]) {
        Ok(size) => size == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Z13: half a head is closed after its limit, on a fresh connection or after an answer.
#[test]
fn half_a_head_is_closed_while_running() {
    let (_drain, addr) = serve_with_short_limits();
    let mut conn = Conn::open(addr).expect("the server listens");
    conn.send(b"GET / HT").expect("an open connection");
    assert!(is_closed(conn.socket()));
    let mut conn = Conn::open(addr).expect("the server listens");
    hello(&mut conn, false);
    conn.send(b"GET / HT").expect("an open connection");
    assert!(is_closed(conn.socket()));
}

/// Z13: so is half a preface of HTTP/2.
#[test]
fn half_a_preface_is_closed_while_running() {
    let (_drain, addr) = serve_with_short_limits();
    let mut peer = TcpStream::connect(addr).expect("the server listens");
    peer.write_all(b"PRI * HTTP/2.0\r\n")
        .expect("an open connection");
    assert!(is_closed(&peer));
}

/// Z13: the limit applies only to heads: a connection may be idle for longer between two requests,
/// and before the first.
#[test]
fn idle_connections_have_no_limit() {
    let (_drain, addr) = serve_with_short_limits();
    let mut idle = Conn::open(addr).expect("the server listens");
    hello(&mut idle, false);
    let mut silent = Conn::open(addr).expect("the server listens");
    thread::sleep(SHORT * 4);
    hello(&mut idle, false);
    hello(&mut silent, false);
}

/// Z13: each head has the full time, even if no head ends where a segment ends.
#[test]
fn heads_that_follow_each_other_have_a_time_each() {
    let (_drain, addr) = serve_with_short_limits();
    let mut conn = Conn::open(addr).expect("the server listens");
    conn.send(b"GET / HT").expect("an open connection");
    for _ in 0..6 {
        thread::sleep(SHORT / 2);
        conn.send(b"TP/1.1\r\nhost: test\r\n\r\nGET / HT")
            .expect("an open connection");
        let answer = conn.read_response().expect("a whole answer");
        assert_eq!(answer.head.status, 200);
    }
}

/// Z13: a TLS handshake that stalls is closed after its limit.
#[test]
fn a_stalled_handshake_is_closed_while_running() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let serving = Server::new(&drain, |task| smol::spawn(task).detach())
        .limits(Limits::new().handshake(SHORT))
        .handshake(|connection| async move {
            pending::<()>().await;
            Ok(connection)
        })
        .serve(listener, service_fn(answer));
    smol::spawn(serving).detach();
    let peer = TcpStream::connect(addr).expect("the server listens");
    assert!(is_closed(&peer));
    assert_eq!(drain.in_flight(), 0);
}

/// Z13: hyper's own timers work as configured, and nothing panics.
#[test]
fn hypers_own_timers_work() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let serving = Server::new(&drain, |task| smol::spawn(task).detach())
        .configure(|http| {
            http.http1().header_read_timeout(SHORT);
            http.http2()
                .keep_alive_interval(SHORT)
                .keep_alive_timeout(SHORT);
        })
        .serve(listener, service_fn(answer));
    smol::spawn(serving).detach();
    let mut conn = Conn::open(addr).expect("the server listens");
    hello(&mut conn, false);
    // hyper's limit also runs between requests.
    assert!(is_closed(conn.socket()));
    let mut conn = H2Conn::open(addr).expect("the server listens");
    let stream = conn.get("/").expect("an open connection");
    let answer = conn.read_answer(stream).expect("an end of the stream");
    assert!(matches!(answer, Answer::Complete { status: 200, .. }));
    // The client answers the first of hyper's pings, but not the second.
    conn.find("a ping", |frame| {
        matches!(frame, testkit::frames::Frame::Ping { ack: false, .. }).then_some(())
    })
    .expect("an open connection");
}

/// Z11: a panic in the handshake, before its first await, ends only its own connection.
#[test]
fn a_panic_that_begins_a_handshake_ends_its_own_connection() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let first = std::sync::atomic::AtomicBool::new(true);
    let serving = Server::new(&drain, |task| smol::spawn(task).detach())
        .handshake(move |connection| {
            let first = first.swap(false, std::sync::atomic::Ordering::Relaxed);
            assert!(!first, "no handshake today");
            std::future::ready(Ok(connection))
        })
        .serve(listener, service_fn(answer));
    let serving = smol::spawn(serving);
    let peer = TcpStream::connect(addr).expect("the server listens");
    assert!(is_closed(&peer));
    hello(&mut Conn::open(addr).expect("the server listens"), false);
    drain.begin();
    smol::block_on(serving).expect("no failure");
    drain.until_drained().wait();
}
