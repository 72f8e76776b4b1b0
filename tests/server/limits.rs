//! Limits on what a peer may leave unfinished, and hyper's own timers.

use std::{
    convert::Infallible,
    io::{ErrorKind, Read, Write},
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

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    if request.uri().path() == "/never" {
        pending::<()>().await;
    }
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

/// Z13: so is a peer of HTTP/2 that sends its preface and no whole frame after it.
#[test]
fn a_preface_without_settings_is_closed_while_running() {
    for rest in [&b""[..], b"\0", b"\0\0\x06\x04\0\0\0\0\0\0"] {
        let (_drain, addr) = serve_with_short_limits();
        let mut peer = TcpStream::connect(addr).expect("the server listens");
        peer.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", rest].concat())
            .expect("an open connection");
        peer.set_read_timeout(Some(TIMEOUT)).expect("a socket");
        let mut settings = Vec::new();
        let end = peer.read_to_end(&mut settings);
        assert!(end.is_ok(), "{rest:?}: {end:?}");
    }
}

/// A connection of HTTP/2 that has been answered once.
fn answered_over_http2(addr: SocketAddr) -> H2Conn {
    let mut conn = H2Conn::open(addr).expect("the server listens");
    let stream = conn.get("/").expect("an open connection");
    let answer = conn.read_answer(stream).expect("an end of the stream");
    assert!(matches!(answer, Answer::Complete { status: 200, .. }));
    conn
}

/// Begins a head on a fresh connection of HTTP/2, behind an answer, and beside a request that is
/// never answered; all are closed.
fn heads_of_http2_are_closed(begin: impl Fn(&mut H2Conn)) {
    let (_drain, addr) = serve_with_short_limits();
    let mut beside = answered_over_http2(addr);
    beside.get("/never").expect("an open connection");
    let fresh = H2Conn::open(addr).expect("the server listens");
    for mut conn in [fresh, answered_over_http2(addr), beside] {
        begin(&mut conn);
        if let Err(error) = conn.read_to_end() {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
    }
}

/// Z13: a head of HTTP/2 whose last frame never comes is closed after its limit.
#[test]
fn an_http2_head_that_is_not_continued_is_closed_while_running() {
    heads_of_http2_are_closed(|conn| {
        conn.begin_head("/").expect("an open connection");
    });
}

/// Z13: so is half of a frame that begins a head.
#[test]
fn half_a_headers_frame_is_closed_while_running() {
    let (length, kind, flags, stream) = (20, 1, 5, 99);
    let half = [0, 0, length, kind, flags, 0, 0, 0, stream, 0x82];
    for cut in [4, 9, 10] {
        heads_of_http2_are_closed(|conn| conn.send(&half[..cut]).expect("an open connection"));
    }
}

/// Z13: so are the first bytes of a frame, which may begin a head.
#[test]
fn a_frame_that_stops_before_its_type_is_closed_while_running() {
    let (_drain, addr) = serve_with_short_limits();
    let mut conn = answered_over_http2(addr);
    conn.send(b"\0\0").expect("an open connection");
    if let Err(error) = conn.read_to_end() {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
}

/// Z13: the limit applies only to heads: a connection may be idle for longer between two requests,
/// and before the first; in HTTP/2, a body may pause.
#[test]
fn idle_connections_have_no_limit() {
    let (_drain, addr) = serve_with_short_limits();
    let mut idle = Conn::open(addr).expect("the server listens");
    hello(&mut idle, false);
    let mut silent = Conn::open(addr).expect("the server listens");
    let mut http2 = [
        H2Conn::open(addr).expect("the server listens"),
        answered_over_http2(addr),
        answered_over_http2(addr),
    ];
    let upload = http2[2].post("/").expect("an open connection");
    let data = [0, 0, 4, 0, 1, 0, 0, 0, 3, b'a'];
    assert_eq!(upload, u32::from(data[8]));
    http2[2].send(&data).expect("an open connection");
    thread::sleep(SHORT * 4);
    hello(&mut idle, false);
    hello(&mut silent, false);
    http2[2].send(b"bcd").expect("an open connection");
    for mut conn in http2 {
        let stream = conn.get("/").expect("an open connection");
        let answer = conn.read_answer(stream).expect("an end of the stream");
        assert!(matches!(answer, Answer::Complete { status: 200, .. }));
    }
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
