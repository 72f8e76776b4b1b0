//! How answers tell their peers that the server is leaving.

use crate::support::client::Conn;
use crate::support::frames::Frame;
use crate::support::h2::{Answer, H2Conn};
use crate::support::response::Head;
use crate::support::subject::{connect, drained, hyper, overtaken, refused};
use async_drain::{Drain, hyper::Server};
use futures_lite::future::block_on;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use rustix::process::Signal;
use smol::Async;
use std::convert::Infallible;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::thread;

/// Serves answers with this status and `Connection` header, while `drain` lives.
fn serve(status: StatusCode, connection: &'static str) -> (Drain, SocketAddr) {
    let drain = Drain::new();
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    let answer = move |_: Request<Incoming>| async move {
        let mut response = Response::new(String::new());
        *response.status_mut() = status;
        if !connection.is_empty() {
            let value = HeaderValue::from_static(connection);
            response.headers_mut().insert(CONNECTION, value);
        }
        Ok::<_, Infallible>(response)
    };
    let serving =
        Server::new(&drain, |task| smol::spawn(task).detach()).serve(listener, service_fn(answer));
    thread::spawn(|| block_on(serving));
    (drain, addr)
}

fn connection_header(
    status: StatusCode,
    connection: &'static str,
    request: &[u8],
) -> Option<String> {
    let (drain, addr) = serve(status, connection);
    let mut conn = Conn::open(addr).expect("the server listens");
    conn.send(GET).expect("an open connection");
    let first = conn.read_response().expect("an answer").head;
    assert!(!first.closes(), "{first:?}");
    drain.enter_lame_duck();
    conn.send(request).expect("an open connection");
    let head: Head = conn.read_head().expect("a head");
    assert_eq!(head.status, status.as_u16());
    drain.abort();
    head.header("connection").map(str::to_owned)
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

/// Z3: in lame duck, a peer that has connected since it began is not told to leave, or a busy peer
/// would connect anew for each request; once draining has begun, all are told.
#[test]
fn peers_that_connect_in_lame_duck_are_told_when_draining_begins() {
    let (drain, addr) = serve(StatusCode::OK, "");
    let closes = |conn: &mut Conn| {
        conn.send(GET).expect("an open connection");
        conn.read_response().expect("an answer").head.closes()
    };
    let mut before = Conn::open(addr).expect("the server listens");
    let mut http2_before = H2Conn::open(addr).expect("the server listens");
    let get = |conn: &mut H2Conn| {
        let stream = conn.get("/").expect("an open connection");
        let answer = conn.read_answer(stream).expect("an end of the stream");
        assert!(matches!(answer, Answer::Complete { status: 200, .. }));
    };
    get(&mut http2_before);
    assert!(!closes(&mut before));
    drain.enter_lame_duck();
    assert!(closes(&mut before));
    assert_eq!(http2_before.read_goaway().expect("it").0, u32::MAX >> 1);
    let mut since = Conn::open(addr).expect("the server listens");
    let mut http2_since = H2Conn::open(addr).expect("the server listens");
    for _ in 0..3 {
        assert!(!closes(&mut since));
        get(&mut http2_since);
    }
    http2_since.ping(*b"anything").expect("an open connection");
    let goaway = http2_since.find("the answer to a PING", |frame| match frame {
        Frame::GoAway { .. } => Some(true),
        Frame::Ping { ack: true, .. } => Some(false),
        _ => None,
    });
    assert!(!goaway.expect("an open connection"));
    drain.begin();
    assert!(closes(&mut since));
    assert_eq!(http2_since.read_goaway().expect("it").0, u32::MAX >> 1);
    drain.abort();
}

/// Z3: `close` is added to the options that a handler sets, and replaces only `keep-alive`.
#[test]
fn an_answer_that_asks_for_an_upgrade_still_does() {
    let upgrade = connection_header(StatusCode::UPGRADE_REQUIRED, "Upgrade", GET);
    assert_eq!(upgrade.as_deref(), Some("Upgrade, close"));
    let keep_alive = connection_header(StatusCode::OK, "keep-alive", GET);
    assert_eq!(keep_alive.as_deref(), Some("close"));
}

/// Z3: the answer that opens a tunnel does not say `close`; one that refuses a tunnel does.
#[test]
fn an_opened_tunnel_is_not_told_to_close() {
    let connect = b"CONNECT test:1 HTTP/1.1\r\nhost: test:1\r\n\r\n";
    assert_eq!(connection_header(StatusCode::OK, "", connect), None);
    let refused = connection_header(StatusCode::FORBIDDEN, "", connect);
    assert_eq!(refused.as_deref(), Some("close"));
}

/// Z3: the answer to a peer of HTTP/1.0 that asked for keep-alive does not say `keep-alive`.
#[test]
fn an_answer_to_http10_does_not_say_keep_alive_when_the_server_leaves() {
    const ASK: &[u8] = b"GET / HTTP/1.0\r\nhost: test\r\nconnection: keep-alive\r\n\r\n";
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "5000")]);
    let mut conn = connect(&server);
    conn.send(ASK).expect("an open connection");
    let mut first = Vec::new();
    while !first.ends_with(b"hello\n") {
        let mut byte = [0];
        conn.socket().read_exact(&mut byte).expect("an answer");
        first.push(byte[0]);
    }
    assert!(String::from_utf8_lossy(&first).contains("connection: keep-alive\r\n"));
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    conn.send(ASK).expect("an open connection");
    let mut last = String::new();
    conn.socket().read_to_string(&mut last).expect("no reset");
    assert!(last.contains("connection: close\r\n"), "{last}");
    assert!(last.ends_with("hello\n"), "{last}");
    drained(&mut server);
}

/// Z3: errors that hyper answers by itself say `close`.
#[test]
fn errors_that_hyper_answers_say_close() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "5000")]);
    let many = "x: y\r\n".repeat(200);
    let requests = [
        ("GET / HTTP/1.1\r\nno header\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), 431),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)), 414),
    ];
    let mut conns = [(); 3].map(|()| connect(&server));
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    for (conn, (request, status)) in conns.iter_mut().zip(&requests) {
        conn.send(request.as_bytes()).expect("an open connection");
        let answer = conn.read_response().expect("a whole answer");
        assert_eq!(answer.head.status, *status);
        assert!(answer.head.closes(), "{:?}", answer.head);
    }
    drained(&mut server);
}

/// Z3: so does an answer that is sent before the request's body was read.
#[test]
fn an_early_answer_says_close() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "5000")]);
    let mut conn = connect(&server);
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    conn.send(b"POST /reject HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nhel")
        .expect("an open connection");
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(answer.head.status, 401);
    assert!(answer.head.closes(), "{:?}", answer.head);
    drop(conn);
    drained(&mut server);
}
