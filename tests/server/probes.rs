//! What probes are told: whether the server should get new work, and whether it is alive.

use std::{convert::Infallible, net::TcpListener};

use async_drain::{
    Drain,
    hyper::{Probes, Server},
};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use rustix::process::Signal;
use smol::Async;
use testkit::{
    client::Conn,
    h2::{Answer, H2Conn},
    response::Head,
    subject::{TIMEOUT, connect, drained, hyper, refused},
};

fn get(conn: &mut Conn, path: &str) -> (Head, String) {
    conn.get(path).expect("an open connection");
    let answer = conn.read_response().expect("a whole answer");
    let text = String::from_utf8(answer.body).expect("text");
    (answer.head, text)
}

/// Serves `hello` behind probes, as long as the drain lives.
fn serve(drain: &Drain) -> std::net::SocketAddr {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    let hello = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(Response::new(format!("hello, {}", request.method())))
    });
    let probes = Probes::new(drain.readiness(), hello)
        .ready_path("/ready")
        .live_path("/live");
    let serving = Server::new(drain, |task| smol::spawn(task).detach()).serve(listener, probes);
    smol::spawn(serving).detach();
    addr
}

/// A probe says why the server is unready, on the paths that were set; whatever is not a probe is
/// the service's.
#[test]
fn a_probe_is_told_why_and_other_requests_are_passed_on() {
    let drain = Drain::new();
    let addr = serve(&drain);
    let mut conn = Conn::open(addr).expect("the server listens");
    let (head, text) = get(&mut conn, "/ready?verbose");
    assert_eq!((head.status, text.as_str()), (200, "ready\n"));
    assert!(!head.closes(), "{head:?}");
    let hold = drain.readiness().hold("no database");
    let (head, text) = get(&mut conn, "/ready");
    assert_eq!(
        (head.status, text.as_str()),
        (503, "not ready: no database\n")
    );
    assert!(!head.closes(), "{head:?}");
    let (head, text) = get(&mut conn, "/live");
    assert_eq!((head.status, text.as_str()), (200, "alive\n"));
    drop(hold);
    assert_eq!(get(&mut conn, "/ready").0.status, 200);
    for path in ["/readyz", "/livez", "/ready/", "/"] {
        assert_eq!(get(&mut conn, path).1, "hello, GET");
    }
    conn.send(b"POST /ready HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n")
        .expect("an open connection");
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(answer.body, b"hello, POST");
}

/// Over HTTP/2, whose heads must not say `close`.
#[test]
fn a_probe_over_http2_is_answered_in_each_phase() {
    let drain = Drain::new();
    let addr = serve(&drain);
    let mut conn = H2Conn::open(addr).expect("the server listens");
    let status = |conn: &mut H2Conn, path| {
        let stream = conn.get(path).expect("an open connection");
        match conn.read_answer(stream).expect("an end of the stream") {
            Answer::Complete { status, .. } => status,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(status(&mut conn, "/ready"), 200);
    drain.enter_lame_duck();
    let mut conn = H2Conn::open(addr).expect("the server listens");
    assert_eq!(status(&mut conn, "/ready"), 503);
}

/// Z3: a prober that keeps its connection is told to leave in lame duck, and does not delay the
/// exit; liveness does not change.
#[test]
fn a_connection_of_a_prober_ends_in_lame_duck() {
    for (mode, status, text) in [
        ("balancer", 503, "not ready: lame duck\n"),
        ("kubernetes", 200, "ready\n"),
    ] {
        let mut server = hyper(&[("LAME_DUCK_MS", "1000"), ("READY", mode)]);
        let mut slow = connect(&server);
        slow.get("/sleep/3000").expect("an open connection");
        let mut prober = connect(&server);
        assert_eq!(get(&mut prober, "/readyz").0.status, 200);
        // It sends its first request while draining.
        let mut draining = connect(&server);
        server.signal(Signal::TERM).expect("a live process");
        // The server decides when the phase changes.
        let in_lame_duck = loop {
            let mut prober = connect(&server);
            let (head, text) = get(&mut prober, "/readyz");
            if head.closes() {
                break (head.status, text);
            }
        };
        assert_eq!(in_lame_duck, (status, text.to_owned()), "{mode}");
        // A prober that connects only now is told, too, although other peers are spared.
        let (head, _) = get(&mut connect(&server), "/readyz");
        assert!(head.closes(), "{head:?}");
        // Nor does hyper add `keep-alive`, for which HTTP/1.0 has to ask.
        let mut old = connect(&server);
        old.send(b"GET /readyz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
            .expect("an open connection");
        let head = old.read_response().expect("a whole answer").head;
        assert_eq!(head.header("connection"), Some("close"), "{head:?}");
        let (head, alive) = get(&mut prober, "/livez");
        assert_eq!((head.status, alive.as_str()), (200, "alive\n"), "{mode}");
        assert!(head.closes(), "{head:?}");
        assert!(prober.is_eof(TIMEOUT).expect("no reset"));

        refused(server.addr());
        let (head, text) = get(&mut draining, "/readyz");
        assert_eq!(
            (head.status, text.as_str()),
            (503, "not ready: draining\n"),
            "{mode}"
        );
        drop(slow);
        drained(&mut server);
    }
}
