//! Limits on what a peer may leave unfinished and on how long connections live, and hyper's own
//! timers.

use std::{
    convert::Infallible,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use async_drain::{
    Drain, Shutdown,
    hyper::{Limits, Server},
};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::{Async, future::pending};
use testkit::{
    client::Conn,
    frames::{Frame, Session},
    h2::{Answer, H2Conn},
    subject::{TIMEOUT, hello},
};

const SHORT: Duration = Duration::from_millis(200);
/// How long the request for `/slow` takes.
const SLOW: Duration = Duration::from_millis(1_500);
/// How long a connection is kept beyond its idle limit.
const BUFFER: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(10);

fn listener() -> (Async<TcpListener>, SocketAddr) {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    (listener, addr)
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    match request.uri().path() {
        "/never" => pending().await,
        "/slow" => drop(smol::Timer::after(SLOW).await),
        _ => {}
    }
    Ok(Response::new("hello\n".to_owned()))
}

/// Serves with short limits, for as long as the test runs.
fn serve_with_short_limits() -> (Drain, SocketAddr) {
    serve_with(Limits::new().head(SHORT).handshake(SHORT), SHORT)
}

/// Serves with these limits and this keep-alive grace, for as long as the test runs.
fn serve_with(limits: Limits, keep_alive_grace: Duration) -> (Drain, SocketAddr) {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let serving = Server::new(&drain, |task| smol::spawn(task).detach())
        .limits(limits)
        .keep_alive_grace(keep_alive_grace)
        .first_request_grace(keep_alive_grace)
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

/// Opens a connection of HTTP/2, and waits for one answer.
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

/// Z5 Z13: a peer that stops within a head, as if it hung, still gets its other answers from a
/// server that stops: the grace period alone limits these.
#[test]
fn an_http2_head_that_is_not_continued_cuts_no_answer_of_a_server_that_stops() {
    let (drain, addr) = serve_with(Limits::new().head(SHORT), LONG);
    let mut peer = TcpStream::connect(addr).expect("the server listens");
    peer.set_read_timeout(Some(TIMEOUT)).expect("a socket");
    let mut session = Session::new();
    let slow = session.request("GET", "/slow", true);
    session.begin_head("/");
    // Nothing else is sent, not even the acknowledgement of a PING.
    peer.write_all(&session.take_output())
        .expect("an open connection");
    while drain.in_flight() == 0 {
        thread::yield_now();
    }
    drain.begin();
    let mut chunk = [0; 1024];
    let answered = loop {
        match session.next_frame().expect("valid frames") {
            Some(Frame::Headers { stream, status, .. }) if stream == slow => break status,
            Some(_) => continue,
            None => {}
        }
        let read = peer.read(&mut chunk).expect("no reset");
        assert_ne!(read, 0, "the connection ended before the answer");
        session.fill(&chunk[..read]);
    };
    assert_eq!(answered, Some(200));
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

/// Z14: an idle connection, or a silent one, is closed a second after its limit.
#[test]
fn an_idle_connection_is_closed_after_its_limit() {
    let (_drain, addr) = serve_with(Limits::new().idle(SHORT), Duration::ZERO);
    let silent = TcpStream::connect(addr).expect("the server listens");
    let mut idle = Conn::open(addr).expect("the server listens");
    hello(&mut idle, false);
    let began = Instant::now();
    for mut peer in [&silent, idle.socket()] {
        peer.set_read_timeout(Some(TIMEOUT)).expect("a socket");
        assert_eq!(peer.read(&mut [0]).expect("no reset"), 0);
        assert!(began.elapsed() > BUFFER, "{:?}", began.elapsed());
    }
}

/// Z14: the limit is advertised, and counted from the last answer; a request in the keep-alive
/// grace that follows is answered with `close`.
#[test]
fn an_idle_limit_is_advertised_and_followed_by_the_keep_alive_grace() {
    let limit = Duration::from_millis(1_200);
    let (_drain, addr) = serve_with(Limits::new().idle(limit), LONG);
    let mut conn = Conn::open(addr).expect("the server listens");
    for _ in 0..3 {
        conn.get("/").expect("an open connection");
        let head = conn.read_response().expect("a whole answer").head;
        assert_eq!(head.header("keep-alive"), Some("timeout=1"), "{head:?}");
        assert_eq!(head.header("connection"), Some("keep-alive"), "{head:?}");
        thread::sleep(limit);
    }
    hello(&mut conn, false);
    thread::sleep(limit + BUFFER * 2);
    hello(&mut conn, true);
    assert!(is_closed(conn.socket()));
}

/// Z14: it is not advertised while a request is still arriving, since hyper may close the
/// connection with the answer: that says `close` then, or nothing.
#[test]
fn no_idle_limit_is_advertised_before_a_request_has_arrived() {
    let (_drain, addr) = serve_with(Limits::new().idle(LONG), LONG);
    let mut conn = Conn::open(addr).expect("the server listens");
    conn.send(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\nabc")
        .expect("an open connection");
    let head = conn.read_response().expect("a whole answer").head;
    assert_eq!(head.header("keep-alive"), None, "{head:?}");
    assert!(!head.has_option("keep-alive"), "{head:?}");
}

/// Z14: over HTTP/2, the peer is told by two GOAWAYs, and a stream between them is served.
#[test]
fn an_idle_http2_connection_gets_two_goaways() {
    // It is told at once, whatever the keep-alive grace is.
    let (_drain, addr) = serve_with(Limits::new().idle(SHORT), LONG);
    let mut conn = answered_over_http2(addr);
    let began = Instant::now();
    assert_eq!(conn.read_goaway().expect("a GOAWAY").0, u32::MAX >> 1);
    let took = began.elapsed();
    assert!(BUFFER < took && took < LONG, "{took:?}");
    assert_eq!(conn.read_goaway().expect("a GOAWAY").0, 1);
    conn.read_to_end().expect("no reset");
}

/// Z14: a connection whose age has come says so with its next answer, and waits for that request.
#[test]
fn an_aged_connection_is_told_with_its_next_answer() {
    let (_drain, addr) = serve_with(Limits::new().age(SHORT), Duration::ZERO);
    let mut conn = Conn::open(addr).expect("the server listens");
    hello(&mut conn, false);
    thread::sleep(SHORT * 2);
    // On a busy machine, its age is seen a little later.
    let told = (0..50).any(|_| {
        thread::sleep(SHORT / 10);
        conn.get("/").expect("an open connection");
        let answer = conn.read_response().expect("a whole answer");
        answer.head.closes()
    });
    assert!(told, "no answer says close");
    assert!(is_closed(conn.socket()));
    hello(&mut Conn::open(addr).expect("the server listens"), false);
}

/// Z14: over HTTP/2, its streams are finished.
#[test]
fn the_streams_of_an_aged_connection_are_finished() {
    let (_drain, addr) = serve_with(Limits::new().age(SHORT), Duration::ZERO);
    let mut conn = H2Conn::open(addr).expect("the server listens");
    let stream = conn.get("/slow").expect("an open connection");
    assert_eq!(conn.read_goaway().expect("a GOAWAY").0, u32::MAX >> 1);
    assert_eq!(conn.read_goaway().expect("a GOAWAY").0, stream);
    let answer = conn.read_answer(stream).expect("an end of the stream");
    assert!(matches!(answer, Answer::Complete { status: 200, .. }));
    conn.read_to_end().expect("no reset");
}

/// Z14: after the age grace, a connection ends whatever it does.
#[test]
fn an_aged_connection_is_cut_after_its_grace() {
    let limits = Limits::new().age(SHORT).age_grace(SHORT);
    let (drain, addr) = serve_with(limits, Duration::ZERO);
    let mut idle = Conn::open(addr).expect("the server listens");
    hello(&mut idle, false);
    let mut http2 = answered_over_http2(addr);
    http2.get("/never").expect("an open connection");
    let mut busy = Conn::open(addr).expect("the server listens");
    busy.get("/never").expect("an open connection");
    assert_eq!(idle.socket().read(&mut [0]).expect("no reset"), 0);
    assert!(is_closed(busy.socket()));
    let _ = http2.read_to_end();
    while drain.in_flight() > 0 {
        thread::yield_now();
    }
}

/// Z14: with as many connections as there may be, a new one waits until another has ended.
#[test]
fn a_connection_beyond_the_limit_waits_for_another_to_end() {
    let (drain, addr) = serve_with(Limits::new().connections(2), Duration::ZERO);
    let mut conns = [(); 2].map(|()| Conn::open(addr).expect("the server listens"));
    for conn in &mut conns {
        hello(conn, false);
    }
    let mut third = Conn::open(addr).expect("the kernel's queue");
    third.get("/").expect("room");
    assert!(!third.is_eof(SHORT).expect("no reset"));
    let [first, mut second] = conns;
    drop(first);
    assert_eq!(third.read_response().expect("an answer").head.status, 200);
    let mut fourth = Conn::open(addr).expect("the kernel's queue");
    fourth.get("/").expect("room");
    assert!(!fourth.is_eof(SHORT).expect("no reset"));
    // What is in the queue is answered, whatever the limit.
    let asked = Instant::now();
    for conn in [&mut second, &mut third] {
        conn.get("/slow").expect("an open connection");
    }
    drain.begin();
    let answer = fourth.read_response().expect("an answer");
    assert!(answer.head.closes(), "{:?}", answer.head);
    assert!(asked.elapsed() < SLOW, "{:?}", asked.elapsed());
    drain.until_drained().wait();
}

/// Z14: peers are told to leave one after the other, and one that has not been told goes on.
#[test]
fn peers_are_told_to_leave_over_the_window() {
    let window = Duration::from_secs(2);
    let (drain, addr) = serve_with(Limits::new().spread(window), Duration::ZERO);
    let mut conns = [(); 40].map(|()| Conn::open(addr).expect("the server listens"));
    for conn in &mut conns {
        hello(conn, false);
    }
    drain.begin();
    let began = Instant::now();
    thread::sleep(window / 2);
    let (mut closed, mut kept, mut last) = (0, 0, 0);
    for conn in &mut conns {
        if conn.is_eof(Duration::from_millis(1)).expect("no reset") {
            closed += 1;
            continue;
        }
        conn.get("/").expect("an open connection");
        match conn.read_response() {
            Ok(answer) if answer.head.closes() => last += 1,
            Ok(_) => kept += 1,
            // It was closed just then: the keep-alive grace is zero. Leave, since the server's
            // close waits for a peer that has sent something after it.
            Err(_) => {
                let _ = conn.socket().shutdown(std::net::Shutdown::Both);
                closed += 1;
            }
        }
    }
    assert!(
        closed > 0 && kept > 0,
        "{closed} closed, {last} told, {kept} kept"
    );
    drain.until_drained().wait();
    assert!(began.elapsed() > window / 2, "{:?}", began.elapsed());
    assert!(
        began.elapsed() < window + SHORT * 5,
        "{:?}",
        began.elapsed()
    );
}

/// Z14: the window ends so early that the keep-alive grace fits into the grace period.
#[test]
fn the_window_ends_within_the_grace_period() {
    let (drain, addr) = serve_with(Limits::new().spread(LONG * 100), SHORT);
    let mut conns = [(); 20].map(|()| Conn::open(addr).expect("the server listens"));
    for conn in &mut conns {
        hello(conn, false);
    }
    let grace = SHORT * 10;
    drain.begin_with_deadline(Instant::now() + grace);
    // Nothing aborts it: the connections have left by themselves.
    assert!(drain.until_drained().wait_timeout(grace + LONG));
    for conn in &mut conns {
        assert!(conn.is_eof(TIMEOUT).expect("no reset"));
    }
}

/// Z14: so it does if the deadline becomes known after the window has begun: a second request cuts
/// lame duck short, or code begins the drain by hand.
#[test]
fn the_window_ends_within_a_grace_period_that_is_known_late() {
    let (lame, grace) = (LONG * 100, SHORT * 10);
    // How long the shutdown begins after the drain; `None` if it begins it.
    for late in [None, Some(Duration::ZERO), Some(Duration::from_millis(300))] {
        let (drain, addr) = serve_with(Limits::new().spread(LONG * 100), SHORT);
        let mut conns = [(); 20].map(|()| Conn::open(addr).expect("the server listens"));
        for conn in &mut conns {
            hello(conn, false);
        }
        let (requests, requested) = smol::channel::unbounded();
        let lame = if late.is_some() { Duration::ZERO } else { lame };
        let shutdown = Shutdown::new(&drain)
            .on(requested)
            .lame_duck(lame)
            .grace(grace);
        let stopping = thread::spawn(move || {
            thread::sleep(late.unwrap_or_default());
            smol::block_on(shutdown.run(pending::<()>()))
        });
        if late.is_some() {
            drain.begin();
        } else {
            requests.send_blocking(()).expect("a receiver");
            drain.until_lame_duck().wait();
            // The requests are told apart by their time.
            thread::sleep(Duration::from_millis(300));
            requests.send_blocking(()).expect("a receiver");
        }
        let report = stopping.join().expect("no panic");
        assert!(report.is_drained(), "{report}");
        assert!(report.aborting().is_zero(), "{late:?}: {report}");
        for conn in &mut conns {
            assert!(conn.is_eof(TIMEOUT).expect("no reset"));
        }
    }
}
