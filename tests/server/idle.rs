//! Connections that are idle, or almost idle, when the process is told to stop.

use crate::support::client::Conn;
use crate::support::frames::NO_LIMIT;
use crate::support::h2::{Answer, H2Conn};
use crate::support::process::Server;
use crate::support::subject::{
    AT_ONCE, TIMEOUT, a_tenth_around, after_the_last_byte, at_once, connect, drained, end, hello,
    hyper, idle, overtaken, refused, two_of_three,
};
use rustix::process::Signal;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Z2, L2: without a keep-alive grace, idle connections do not delay the exit.
#[test]
fn without_a_grace_idle_connections_end_at_once() {
    two_of_three(at_once(), || {
        let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
        let mut idle = idle(&server);
        overtaken(&server);
        server.signal(Signal::TERM).expect("a live process");
        assert!(idle.is_eof(TIMEOUT).expect("no reset"));
        drained(&mut server).elapsed
    });
}

/// Z2: an idle connection delays the exit by at most the keep-alive grace.
#[test]
fn idle_connections_end_with_the_keep_alive_grace() {
    let grace = Duration::from_secs(1);
    two_of_three(grace..=grace + AT_ONCE, || {
        let mut server = hyper(&[]);
        let mut idle = idle(&server);
        server.signal(Signal::TERM).expect("a live process");
        assert!(idle.is_eof(TIMEOUT).expect("no reset"));
        drained(&mut server).elapsed
    });
}

/// Z2, Z3: within the grace a connection may send one more request, whose answer is the last; then
/// nothing delays the exit.
#[test]
fn an_idle_connection_may_place_one_more_request() {
    two_of_three(after_the_last_byte(), || {
        let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "5000")]);
        let mut idle = idle(&server);
        server.signal(Signal::TERM).expect("a live process");
        refused(server.addr());
        hello(&mut idle, true);
        let last_byte = Instant::now();
        assert!(idle.is_eof(TIMEOUT).expect("no reset"));
        drained(&mut server).at.saturating_duration_since(last_byte)
    });
}

/// Z2: so may a connection whose first method begins like HTTP/2's preface.
#[test]
fn a_client_that_prints_may_place_one_more_request() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "5000")]);
    let mut idle = connect(&server);
    idle.send(b"PRINT / HTTP/1.1\r\nhost: test\r\n\r\n")
        .expect("an open connection");
    idle.read_response().expect("a whole answer");
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    hello(&mut idle, true);
    drained(&mut server);
}

/// The outcome of one client.
enum Fate {
    /// The client was told to leave, or saw the end before it wrote.
    Left,
    Lost(std::io::Error),
}

/// Sends requests as a pool of connections does: it checks that the connection is open, and then
/// the latency passes before the request reaches the server.
fn ask_until_told_to_leave(mut conn: Conn, latency: Duration, looks: &AtomicUsize) -> Fate {
    loop {
        match conn.is_eof(Duration::from_micros(1)) {
            Ok(false) => looks.fetch_add(1, Ordering::Relaxed),
            Ok(true) => return Fate::Left,
            Err(error) => return Fate::Lost(error),
        };
        thread::sleep(latency);
        match conn.get("/").and_then(|()| conn.read_response()) {
            Ok(answer) if answer.head.closes() => return Fate::Left,
            Ok(_) => {}
            Err(error) => return Fate::Lost(error),
        }
    }
}

/// Z2: a request on its way between the client's check and the server is not lost.
fn keep_alive(latency: Duration) {
    const CLIENTS: usize = 50;
    let mut server = hyper(&[]);
    let conns: Vec<Conn> = (0..CLIENTS).map(|_| connect(&server)).collect();
    let looks = AtomicUsize::new(0);
    let fates: Vec<Fate> = thread::scope(|scope| {
        let clients: Vec<_> = conns
            .into_iter()
            .map(|conn| scope.spawn(|| ask_until_told_to_leave(conn, latency, &looks)))
            .collect();
        // After four answers each on average, and at a check rather than at an answer: clients keep
        // step, and clients that check afterwards would see the end and lose nothing, whatever the
        // server does.
        while looks.load(Ordering::Relaxed) < 5 * CLIENTS {
            thread::yield_now();
        }
        server.signal(Signal::TERM).expect("a live process");
        let fate = |client: thread::ScopedJoinHandle<_>| client.join().expect("no panic");
        clients.into_iter().map(fate).collect()
    });
    let lost = fates.iter().filter_map(|fate| match fate {
        Fate::Left => None,
        Fate::Lost(error) => Some(error.to_string()),
    });
    assert_eq!(lost.collect::<Vec<_>>(), Vec::<String>::new());
    drained(&mut server);
}

/// Z2: without latency no request is lost.
#[test]
fn keep_alive_at_0_ms_loses_nothing() {
    keep_alive(Duration::ZERO);
}

/// Z2: at 5 ms no request is lost, where Go and nginx lose 29 %.
#[test]
fn keep_alive_at_5_ms_loses_nothing() {
    keep_alive(Duration::from_millis(5));
}

/// Z2: at 50 ms no request is lost.
#[test]
fn keep_alive_at_50_ms_loses_nothing() {
    keep_alive(Duration::from_millis(50));
}

/// Z4: a connection that was accepted and is silent may send its first request 200 ms after the
/// signal.
#[test]
fn a_silent_connection_may_send_its_first_request() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let mut silent = connect(&server);
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    thread::sleep(Duration::from_millis(200));
    hello(&mut silent, true);
    assert!(silent.is_eof(TIMEOUT).expect("no reset"));
    drained(&mut server);
}

/// Z4: a connection that stays silent delays the exit by the first-request grace and no longer.
#[test]
fn a_silent_connection_ends_with_the_first_request_grace() {
    let grace = Duration::from_millis(700);
    two_of_three(grace..=grace + AT_ONCE, || {
        let mut server = hyper(&[
            ("KEEP_ALIVE_GRACE_MS", "0"),
            ("FIRST_REQUEST_GRACE_MS", "700"),
        ]);
        let accepted = Instant::now();
        let mut silent = connect(&server);
        overtaken(&server);
        server.signal(Signal::TERM).expect("a live process");
        assert!(silent.is_eof(TIMEOUT).expect("no reset"));
        drained(&mut server).at.duration_since(accepted)
    });
}

/// Z4: half a head is a request that has begun, the first or a later one: no grace for idle
/// connections ends it.
#[test]
fn half_a_head_may_be_completed() {
    let mut server = hyper(&[
        ("KEEP_ALIVE_GRACE_MS", "0"),
        ("FIRST_REQUEST_GRACE_MS", "0"),
    ]);
    let mut conns = [connect(&server), idle(&server)];
    for conn in &mut conns {
        conn.send(b"GET / HTTP/1.1\r\nho")
            .expect("an open connection");
    }
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    thread::sleep(Duration::from_millis(200));
    for conn in &mut conns {
        conn.send(b"st: test\r\n\r\n").expect("an open connection");
        let answer = conn.read_response().expect("a whole answer");
        assert_eq!(
            (answer.head.status, answer.body),
            (200, b"hello\n".to_vec())
        );
        assert!(answer.head.closes(), "{:?}", answer.head);
    }
    drained(&mut server);
}

/// Z4: so is half a head in one segment with requests that were answered since.
#[test]
fn half_a_head_behind_answered_requests_may_be_completed() {
    const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    const EXACT: &str = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nhello\n";
    const CHUNKED: &str = "POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
                           6\r\nhello\n\r\n0\r\n\r\n";
    const HALF: &str = "\r\nG";
    let sent = [
        vec![GET],
        vec![EXACT],
        vec![CHUNKED],
        vec![GET, EXACT, GET],
        vec![CHUNKED, GET, EXACT],
    ];
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let mut conns = Vec::new();
    for requests in sent {
        let message = [&requests.concat(), HALF].concat();
        // All of it in one segment, and the end of the last request in one segment with the half
        // head.
        for cut in [message.len(), message.len() - HALF.len() - 2] {
            let mut conn = connect(&server);
            let (first, rest) = message.split_at(cut);
            conn.send(first.as_bytes()).expect("an open connection");
            // The server reads it before the rest is sent.
            overtaken(&server);
            conn.send(rest.as_bytes()).expect("an open connection");
            for _ in &requests {
                let answer = conn.read_response().expect("a whole answer");
                assert_eq!(answer.body, b"hello\n");
            }
            conns.push(conn);
        }
    }
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    thread::sleep(Duration::from_millis(200));
    for conn in &mut conns {
        conn.send(b"ET / HTTP/1.1\r\nhost: test\r\n\r\n")
            .expect("an open connection");
        let answer = conn.read_response().expect("a whole answer");
        assert_eq!(answer.body, b"hello\n");
        assert!(answer.head.closes(), "{:?}", answer.head);
    }
    drained(&mut server);
}

/// Z4: empty lines are not half a head, alone or behind a body, in its segment or in another.
#[test]
fn empty_lines_do_not_hold_the_process() {
    const POST: &[u8] = b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nhello\n";
    let sent: [&[&[u8]]; 5] = [
        &[b"\r\n"],
        &[b"\n\r\n\n"],
        &[POST, b"\r\n"],
        &[POST, b"\r", b"\n"],
        &[&[POST, b"\r\n"].concat()],
    ];
    two_of_three(at_once(), || {
        let mut server = hyper(&[
            ("KEEP_ALIVE_GRACE_MS", "0"),
            ("FIRST_REQUEST_GRACE_MS", "0"),
        ]);
        let mut conns = sent.map(|parts| {
            let mut conn = connect(&server);
            for part in parts {
                conn.send(part).expect("an open connection");
                if part.starts_with(b"POST") {
                    conn.read_response().expect("a whole answer");
                }
            }
            conn
        });
        overtaken(&server);
        server.signal(Signal::TERM).expect("a live process");
        for conn in &mut conns {
            assert!(conn.is_eof(TIMEOUT).expect("no reset"));
        }
        drained(&mut server).elapsed
    });
}

/// Z4: half a head that is never completed is cut when the grace period ends, and counts as
/// abandoned.
#[test]
fn half_a_head_is_cut_with_the_grace_period() {
    let grace = Duration::from_secs(1);
    two_of_three(a_tenth_around(grace), || {
        let mut server = hyper(&[("GRACE_MS", "1000"), ("KEEP_ALIVE_GRACE_MS", "0")]);
        let mut conn = connect(&server);
        conn.send(b"GET / HTTP/1.1\r\nho")
            .expect("an open connection");
        overtaken(&server);
        server.signal(Signal::TERM).expect("a live process");
        let exit = end(&mut server);
        assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
        assert!(exit.report.contains(", 1 abandoned"), "{}", exit.stderr);
        exit.elapsed
    });
}

/// Z9: a connection that becomes idle after the drain began, and was not told to leave, has its
/// grace from then on.
#[test]
fn a_connection_that_falls_idle_late_may_place_one_more_request() {
    let mut server = hyper(&[]);
    // Twice as long as the grace.
    let mut conn = streaming(&server, 20);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    assert!(conn.read_body().expect("the whole body").ends_with(b"19\n"));
    // The server would have closed by now.
    thread::sleep(Duration::from_millis(200));
    hello(&mut conn, true);
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
    drained(&mut server);
}

/// Z9: such a connection ends with its grace, though no sweep finds it.
#[test]
fn a_connection_that_falls_idle_late_ends_with_the_keep_alive_grace() {
    let grace = Duration::from_millis(500);
    let earliest = grace * 9 / 10;
    two_of_three(earliest..=grace + AT_ONCE, || {
        let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "500")]);
        let mut conn = streaming(&server, 12);
        server.signal(Signal::TERM).expect("a live process");
        conn.read_body().expect("the whole body");
        let last_byte = Instant::now();
        assert!(conn.is_eof(TIMEOUT).expect("no reset"));
        drained(&mut server).at.duration_since(last_byte)
    });
}

/// Asks for an answer that takes so many tenths of a second, longer than the keep-alive grace; its
/// head does not say `close`.
fn streaming(server: &Server, tenths: usize) -> Conn {
    let mut conn = connect(server);
    conn.get(&format!("/stream/{tenths}/100"))
        .expect("an open connection");
    let head = conn.read_head().expect("a head");
    assert!(!head.closes(), "{head:?}");
    conn
}

/// Z3, L2: an idle HTTP/2 connection gets both GOAWAYs and ends at once; it needs no grace, since
/// its peer knows which requests it may retry.
#[test]
fn an_idle_http2_connection_ends_at_once() {
    two_of_three(at_once(), || {
        let mut server = hyper(&[]);
        let mut conn = H2Conn::open(server.addr()).expect("the server listens");
        let stream = conn.get("/").expect("an open connection");
        let answer = conn.read_answer(stream).expect("an end of the stream");
        let body = b"hello\n".to_vec();
        assert_eq!(answer, Answer::Complete { status: 200, body });
        server.signal(Signal::TERM).expect("a live process");
        assert_eq!(conn.read_goaway().expect("a first"), (NO_LIMIT, 0));
        assert_eq!(conn.read_goaway().expect("a second"), (stream, 0));
        conn.read_to_end().expect("no reset");
        drained(&mut server).elapsed
    });
}

/// Z4: an HTTP/2 peer that stops within its preface ends with the first-request grace.
#[test]
fn half_an_http2_preface_ends_with_the_first_request_grace() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (first, length) in [(1, 3), (3, 3), (14, 14), (0, 23)] {
        let mut server = hyper(&[
            ("KEEP_ALIVE_GRACE_MS", "0"),
            ("FIRST_REQUEST_GRACE_MS", "500"),
        ]);
        let mut silent = TcpStream::connect(server.addr()).expect("the server listens");
        silent.write_all(&preface[..first]).expect("an open socket");
        overtaken(&server);
        server.signal(Signal::TERM).expect("a live process");
        silent
            .write_all(&preface[first..length])
            .expect("an open socket");
        let exit = drained(&mut server);
        let bound = Duration::from_secs(2);
        assert!(exit.elapsed < bound, "{length}: it took {:?}", exit.elapsed);
    }
}

/// Z4: so does an HTTP/2 peer that has sent its preface and no request; it gets both GOAWAYs.
#[test]
fn an_http2_peer_that_asks_for_nothing_ends_with_the_first_request_grace() {
    let mut server = hyper(&[
        ("KEEP_ALIVE_GRACE_MS", "0"),
        ("FIRST_REQUEST_GRACE_MS", "500"),
    ]);
    let mut conn = H2Conn::open(server.addr()).expect("the server listens");
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    assert_eq!(conn.read_goaway().expect("a first"), (NO_LIMIT, 0));
    assert_eq!(conn.read_goaway().expect("a second"), (0, 0));
    conn.read_to_end().expect("no reset");
    let exit = drained(&mut server);
    assert!(exit.elapsed < Duration::from_secs(2), "{:?}", exit.elapsed);
}

/// Z4: an HTTP/2 peer that never answers our PING ends after 5 s, well within the grace period.
#[test]
fn an_http2_peer_that_answers_no_ping_does_not_hold_the_process() {
    let mut server = hyper(&[("GRACE_MS", "20000")]);
    let mut conn = H2Conn::open(server.addr()).expect("the server listens");
    let stream = conn.get("/").expect("an open connection");
    conn.read_answer(stream).expect("an end of the stream");
    server.signal(Signal::TERM).expect("a live process");
    let exit = drained(&mut server);
    assert!(exit.elapsed < Duration::from_secs(7), "{:?}", exit.elapsed);
    drop(conn);
}

/// Z2, Z3: an HTTP/2 connection that was idle for longer than that may also send a request between
/// the GOAWAYs.
#[test]
fn an_http2_connection_that_was_idle_for_long_may_place_one_more_request() {
    let mut server = hyper(&[]);
    let mut conn = H2Conn::open(server.addr()).expect("the server listens");
    let stream = conn.get("/").expect("an open connection");
    conn.read_answer(stream).expect("an end of the stream");
    thread::sleep(Duration::from_millis(5500));
    server.signal(Signal::TERM).expect("a live process");
    // The request is sent before the answer to the server's PING, which comes next.
    assert_eq!(conn.read_goaway().expect("a first"), (NO_LIMIT, 0));
    refused(server.addr());
    let stream = conn.get("/").expect("an open connection");
    let answer = conn.read_answer(stream).expect("an end of the stream");
    let body = b"hello\n".to_vec();
    assert_eq!(answer, Answer::Complete { status: 200, body });
    conn.read_to_end().expect("no reset");
    drained(&mut server);
}

/// Z4: a TLS handshake that stalls, before its first byte or later, ends with the first-request
/// grace.
#[test]
fn a_stalled_tls_handshake_ends_with_the_first_request_grace() {
    // The head of a record with a ClientHello of 252 bytes, and its first bytes.
    let half = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03";
    for hello in [&b""[..], half] {
        let mut server = hyper(&[
            ("TLS", "1"),
            ("KEEP_ALIVE_GRACE_MS", "0"),
            ("FIRST_REQUEST_GRACE_MS", "500"),
        ]);
        let mut stalled = TcpStream::connect(server.addr()).expect("the server listens");
        stalled.write_all(hello).expect("an open socket");
        server.signal(Signal::TERM).expect("a live process");
        let exit = drained(&mut server);
        assert!(exit.elapsed < Duration::from_secs(2), "{:?}", exit.elapsed);
    }
}
