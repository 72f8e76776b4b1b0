//! How connections are closed: nothing that was written is lost, and the exit does not wait for
//! peers that have everything.

use crate::support::client::Conn;
use crate::support::h2::{Answer, H2Conn};
use crate::support::process::{Exit, Server};
use crate::support::subject::{
    TIMEOUT, after_the_last_byte, connect, drained, end, hello, hyper, idle, overtaken, refused,
    two_of_three,
};
use crate::support::tls::TlsConn;
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Sends a request with a body that the server does not read.
fn post(conn: &mut Conn, path: &str, body: &[u8]) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    conn.send(&[head.as_bytes(), body].concat())
        .expect("no reset while the body is sent");
}

/// Z8: a client that sends all of its 5 MB before it reads can read that the server rejected them.
#[test]
fn a_rejected_upload_of_5_mb_can_read_why() {
    let body = vec![b'u'; 5_000_000];
    let mut server = hyper(&[]);
    let mut late = connect(&server);
    rejected(&mut connect(&server), &body);
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    rejected(&mut late, &body);
    drained(&mut server);
}

fn rejected(conn: &mut Conn, body: &[u8]) {
    post(conn, "/reject", body);
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!((answer.head.status, answer.body), (401, Vec::new()));
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
}

/// Z5 Z8: a client that asks for an upgrade and gets a plain answer, as clients of HTTP/2 in the
/// clear do, is closed with as much care.
#[test]
fn a_client_that_is_not_granted_an_upgrade_gets_its_answer_whole() {
    // More than the sockets take at once.
    const SIZE: usize = 20_000_000;
    for (request, body) in [
        ("GET /full", Vec::new()),
        ("POST /bytes", vec![b'u'; 200_000]),
        ("POST /full", vec![b'u'; 200_000]),
    ] {
        let mut server = hyper(&[]);
        let mut conn = connect(&server);
        overtaken(&server);
        server.signal(Signal::TERM).expect("a live process");
        refused(server.addr());
        let head = format!(
            "{request}/{SIZE} HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: h2c\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        conn.send(&[head.as_bytes(), &body].concat())
            .expect("no reset while the body is sent");
        let head = conn.read_head().expect("a head");
        assert!(head.closes(), "{head:?}");
        let answer = conn.read_body().expect("a whole body");
        assert_eq!(answer.len(), SIZE, "{request}");
        assert!(conn.is_eof(TIMEOUT).expect("no reset"));
        drained(&mut server);
    }
}

/// Z8: and if it speaks TLS, with close_notify.
#[test]
fn a_refused_tunnel_ends_with_close_notify() {
    let mut server = hyper(&[("TLS", "1"), ("KEEP_ALIVE_GRACE_MS", "5000")]);
    let mut conn = TlsConn::open(server.addr()).expect("the server listens");
    conn.get("/").expect("an open connection");
    conn.read_until("hello\n").expect("a whole answer");
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    conn.send(b"CONNECT tunnel:80 HTTP/1.1\r\nhost: tunnel:80\r\n\r\n")
        .expect("an open connection");
    let answer = conn.read_to_end().expect("close_notify");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drained(&mut server);
}

/// L2 Z8: a client that waits for `100 Continue` and is rejected instead owes no body, so the exit
/// doesn't wait for one.
#[test]
fn a_client_that_was_not_told_to_continue_does_not_delay_the_exit() {
    two_of_three(after_the_last_byte(), || {
        let mut server = hyper(&[]);
        let mut conn = connect(&server);
        overtaken(&server);
        server.signal(Signal::TERM).expect("a live process");
        refused(server.addr());
        conn.send(
            b"POST /reject HTTP/1.1\r\nhost: test\r\nexpect: 100-Continue\r\n\
              content-length: 5\r\n\r\n",
        )
        .expect("an open connection");
        let answered = Instant::now();
        let answer = conn.read_response().expect("a whole answer");
        assert_eq!(answer.head.status, 401);
        // The connection stays open, as that of a client that keeps it for later does.
        drained(&mut server);
        answered.elapsed()
    });
}

/// Z8: a client that pauses after the answer, and sends more before it reads, is not reset.
#[test]
fn a_rejected_upload_that_pauses_is_not_reset() {
    let server = hyper(&[]);
    let mut conn = connect(&server);
    let head = b"POST /reject HTTP/1.1\r\nhost: test\r\ncontent-length: 20000\r\n\r\n";
    conn.send(&[&head[..], &[b'u'; 5_000]].concat())
        .expect("an open connection");
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(300));
        // After the server has closed, the first write would succeed, and the next one fail.
        conn.send(&[b'u'; 5_000]).expect("no reset");
    }
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(answer.head.status, 401);
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
}

/// Z8: 100 of 100 clients that read late get their answer of 300 KB, though they have sent bytes
/// that the server did not read.
#[test]
fn an_answer_of_300_kb_arrives_whole_in_spite_of_unread_input() {
    const CLIENTS: usize = 100;
    const SIZE: usize = 300_000;
    let body = vec![b'u'; 200_000];
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let conns: Vec<Conn> = (0..CLIENTS).map(|_| connect(&server)).collect();
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    let asked = Barrier::new(CLIENTS);
    let (asked, body) = (&asked, &body);
    let whole = thread::scope(|scope| {
        let clients: Vec<_> = conns
            .into_iter()
            .map(|mut conn| {
                scope.spawn(move || {
                    post(&mut conn, &format!("/bytes/{SIZE}"), body);
                    // All clients have sent everything before the first one reads, and the server
                    // has long answered.
                    asked.wait();
                    thread::sleep(Duration::from_millis(300));
                    let head = conn.read_head()?;
                    let size = conn.read_body()?.len();
                    assert!(head.closes() && size == SIZE, "{size} of {head:?}");
                    assert!(conn.is_eof(TIMEOUT)?);
                    std::io::Result::Ok(())
                })
            })
            .collect();
        let ends = clients.into_iter().map(thread::ScopedJoinHandle::join);
        let ends: Vec<_> = ends.map(|end| end.expect("no panic")).collect();
        assert!(ends.iter().all(Result::is_ok), "{ends:?}");
        ends.len()
    });
    assert_eq!(whole, CLIENTS);
    drained(&mut server);
}

/// Z8, L2: a peer that has everything and keeps its socket open does not delay the exit, nor do a
/// hundred such peers.
#[test]
fn a_peer_that_has_everything_does_not_hold_the_exit() {
    two_of_three(after_the_last_byte(), || {
        let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "5000")]);
        let mut conns: Vec<Conn> = (0..20).map(|_| connect(&server)).collect();
        overtaken(&server);
        server.signal(Signal::TERM).expect("a live process");
        refused(server.addr());
        for conn in &mut conns {
            hello(conn, true);
        }
        let last_byte = Instant::now();
        let exit = drained(&mut server);
        for mut conn in conns {
            assert!(conn.is_eof(TIMEOUT).expect("no reset"));
        }
        exit.at.saturating_duration_since(last_byte)
    });
}

/// Z8, L2: nor does an HTTP/2 peer that has uploaded something.
#[test]
fn an_http2_peer_that_has_uploaded_does_not_hold_the_exit() {
    two_of_three(after_the_last_byte(), || {
        let mut server = hyper(&[]);
        let mut conn = H2Conn::open(server.addr()).expect("the server listens");
        let stream = conn.post("/echo").expect("an open connection");
        conn.send_data(stream, b"upload", true).expect("a window");
        let answer = conn.read_answer(stream).expect("an end of the stream");
        assert!(matches!(answer, Answer::Complete { status: 200, .. }));
        overtaken(&server);
        server.signal(Signal::TERM).expect("a live process");
        // The first GOAWAY and its ping; the client answers it while it reads on to the second.
        for _ in 0..2 {
            conn.read_goaway().expect("a GOAWAY");
        }
        let told = Instant::now();
        let exit = drained(&mut server);
        drop(conn);
        exit.at.saturating_duration_since(told)
    });
}

/// Z8: a client with room for its answer can read it after the process is gone.
#[test]
fn an_answer_is_still_there_when_the_process_is_gone() {
    let mut server = hyper(&[]);
    let mut conn = connect(&server);
    conn.get("/bytes/30000").expect("an open connection");
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    drained(&mut server);
    assert_eq!(
        conn.read_response().expect("a whole answer").body.len(),
        30_000
    );
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
}

/// Z8: a client that half-closes after its request is answered.
#[test]
fn a_half_closed_client_is_answered() {
    let mut server = hyper(&[]);
    let mut conn = connect(&server);
    conn.get("/sleep/300").expect("an open connection");
    conn.socket()
        .shutdown(Shutdown::Write)
        .expect("an open socket");
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    assert_eq!(
        conn.read_response().expect("a whole answer").body,
        b"slept\n"
    );
    drained(&mut server);
}

/// Z8, Z5: over TLS an answer in flight arrives whole, and every connection ends with a
/// close_notify.
#[test]
fn tls_ends_with_close_notify() {
    let mut server = hyper(&[("TLS", "1")]);
    let mut idle = TlsConn::open(server.addr()).expect("the server listens");
    idle.get("/").expect("an open connection");
    idle.read_until("hello\n").expect("a whole answer");
    let mut busy = TlsConn::open(server.addr()).expect("the server listens");
    busy.get("/stream/5/100").expect("an open connection");
    busy.read_until("chunk 0\n\r\n").expect("a first chunk");
    server.signal(Signal::TERM).expect("a live process");
    let rest = busy.read_to_end().expect("close_notify");
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.ends_with("chunk 4\n\r\n0\r\n\r\n"), "{rest:?}");
    assert_eq!(idle.read_to_end().expect("close_notify"), b"");
    drained(&mut server);
}

/// Z8: so it does for a peer that has sent no request, half of an HTTP/2 preface, or an empty line.
#[test]
fn a_silent_tls_connection_ends_with_close_notify() {
    let mut server = hyper(&[
        ("TLS", "1"),
        ("KEEP_ALIVE_GRACE_MS", "0"),
        ("FIRST_REQUEST_GRACE_MS", "0"),
    ]);
    let sent: [(&str, &[u8]); 5] = [
        ("http/1.1", b""),
        ("http/1.1", b"\r\n"),
        ("h2", b""),
        ("h2", b"PRI * HT"),
        ("h2", b"PRI * HTTP/2.0\r\n\r\nSM"),
    ];
    let conns = sent.map(|(protocol, bytes)| {
        let mut conn = TlsConn::open_for(protocol, server.addr()).expect("the server listens");
        conn.send(bytes).expect("an open connection");
        conn
    });
    // A later connection that is answered.
    for _ in 0..2 {
        let mut idle = TlsConn::open(server.addr()).expect("the server listens");
        idle.get("/").expect("an open connection");
        idle.read_until("hello\n").expect("a whole answer");
    }
    server.signal(Signal::TERM).expect("a live process");
    for (mut conn, (protocol, bytes)) in conns.into_iter().zip(sent) {
        let text = String::from_utf8_lossy(bytes);
        let end = conn.read_to_end();
        let end = end.unwrap_or_else(|error| panic!("{protocol}, {text:?}: {error}"));
        assert_eq!(end, b"", "{protocol}, {text:?}");
    }
    drained(&mut server);
}

/// Asks as a client of HTTP/1.0 does, whose answer of unknown length ends with the connection.
fn ask_http10(conn: &Conn, path: &str) {
    let request = format!("GET {path} HTTP/1.0\r\nhost: test\r\n\r\n");
    conn.socket()
        .write_all(request.as_bytes())
        .expect("an open connection");
}

/// Reads from a socket until the bytes contain this.
fn read_past(mut socket: &TcpStream, mark: &str) {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(mark) {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("an open connection");
        text.push(byte[0]);
    }
}

/// Z8: an answer that ends with its connection ends with a reset if it is cut, even if the process
/// is killed; otherwise its client would take it for whole.
#[test]
fn a_cut_answer_without_a_length_ends_with_a_reset() {
    for kill in [false, true] {
        let mut server = hyper(&[("GRACE_MS", "300"), ("KEEP_ALIVE_GRACE_MS", "0")]);
        let conn = connect(&server);
        ask_http10(&conn, "/stream/1000/50");
        read_past(conn.socket(), "chunk 0\n");
        if kill {
            server.kill().expect("a live process");
        } else {
            server.signal(Signal::TERM).expect("a live process");
        }
        let cut = conn.socket().read_to_end(&mut Vec::new());
        let kind = cut.map_err(|error| error.kind());
        assert_eq!(kind, Err(ErrorKind::ConnectionReset), "killed: {kill}");
        if !kill {
            assert_eq!(end(&mut server).status.code(), Some(1));
        }
    }
}

/// Z8: a complete answer of this kind ends with the end of the stream.
#[test]
fn a_whole_answer_without_a_length_ends_with_the_stream() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let conn = connect(&server);
    ask_http10(&conn, "/stream/5/100");
    read_past(conn.socket(), "chunk 0\n");
    server.signal(Signal::TERM).expect("a live process");
    let mut rest = String::new();
    conn.socket().read_to_string(&mut rest).expect("no reset");
    assert!(rest.ends_with("chunk 4\n"), "{rest}");
    drained(&mut server);
    // No reset follows the end of the stream.
    let error = conn.socket().take_error().expect("an open socket");
    assert!(error.is_none(), "{error:?}");
}

/// Z8: a chunked answer that is cut has no last chunk; over TLS, no cut answer has a close_notify.
#[test]
fn a_cut_answer_does_not_look_whole() {
    let mut server = hyper(&[("GRACE_MS", "300"), ("KEEP_ALIVE_GRACE_MS", "0")]);
    let mut conn = connect(&server);
    conn.get("/stream/1000/50").expect("an open connection");
    conn.read_head().expect("a head");
    conn.next_chunk().expect("a chunk");
    server.signal(Signal::TERM).expect("a live process");
    conn.read_body().expect_err("no end of the body");
    assert_eq!(end(&mut server).status.code(), Some(1));

    for version in ["1.0", "1.1"] {
        let mut server = hyper(&[
            ("TLS", "1"),
            ("GRACE_MS", "300"),
            ("KEEP_ALIVE_GRACE_MS", "0"),
        ]);
        let mut conn = TlsConn::open(server.addr()).expect("the server listens");
        let request = format!("GET /stream/1000/50 HTTP/{version}\r\nhost: test\r\n\r\n");
        conn.send(request.as_bytes()).expect("an open connection");
        server.signal(Signal::TERM).expect("a live process");
        conn.read_to_end().expect_err("no close_notify");
        assert_eq!(end(&mut server).status.code(), Some(1));
    }
}

/// Z4: a TLS handshake may be completed after the drain began, and a request may follow it.
#[test]
fn a_tls_handshake_may_be_completed_while_draining() {
    let mut server = hyper(&[("TLS", "1"), ("KEEP_ALIVE_GRACE_MS", "0")]);
    let socket = TcpStream::connect(server.addr()).expect("the server listens");
    drop(TlsConn::open(server.addr()).expect("the server listens"));
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    let mut conn = TlsConn::over(socket).expect("a handshake");
    conn.get("/").expect("an open connection");
    let answer = conn.read_to_end().expect("close_notify");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    drained(&mut server);
}

/// Connects a client that takes little at a time: its kernel buffers about 64 KB.
fn small(server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    socket.set_recv_buffer_size(32 * 1024).expect("a socket");
    socket
        .connect(&server.addr().into())
        .expect("the server listens");
    socket.into()
}

/// Asks for a body that does not fit into its socket, and reads the first bytes.
fn ask_for_much(server: &Server) -> TcpStream {
    let mut conn = small(server);
    conn.write_all(format!("GET /bytes/{MUCH} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())
        .expect("an open connection");
    conn.read_exact(&mut [0; 100]).expect("the head");
    conn
}

/// How much a kernel takes from a server at once, more than it takes for a client.
const MUCH: usize = 1_500_000;

/// Z5, Z8: a slow reader that acknowledges bytes for longer than the stall limit gets all of them.
#[test]
fn an_answer_is_work_for_as_long_as_it_is_being_acknowledged() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let mut conn = ask_for_much(&server);
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    let mut read = 100;
    let mut chunk = vec![0; 50_000];
    while read < MUCH {
        thread::sleep(Duration::from_millis(100));
        let size = conn.read(&mut chunk).expect("no reset");
        assert_ne!(size, 0, "it ends after {read}");
        read += size;
    }
    let exit = drained(&mut server);
    assert!(
        exit.elapsed > Duration::from_millis(2500),
        "{:?}",
        exit.elapsed
    );
}

/// S8, Z8: a peer that acknowledges nothing for the stall limit is reset and its answer abandoned,
/// before the grace period ends.
#[test]
fn an_unread_answer_is_abandoned_after_the_stall_limit() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let mut conn = ask_for_much(&server);
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    let exit = end(&mut server);
    abandoned_one(&exit);
    let bounds = Duration::from_secs(2)..Duration::from_secs(5);
    assert!(bounds.contains(&exit.elapsed), "{:?}", exit.elapsed);
    let error = conn.read_to_end(&mut Vec::new()).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// S8: an answer that is being acknowledged when the grace period ends is abandoned.
#[test]
fn an_answer_on_its_way_is_abandoned_with_the_grace_period() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0"), ("GRACE_MS", "1000")]);
    let _conn = ask_for_much(&server);
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    abandoned_one(&end(&mut server));
}

/// S8: so is an answer that its peer does not take, even if its connection has been idle since it
/// was written.
#[test]
fn an_idle_connection_with_bytes_on_their_way_is_abandoned_with_the_grace_period() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "5000"), ("GRACE_MS", "1000")]);
    let _conn = ask_for_much(&server);
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    abandoned_one(&end(&mut server));
}

/// S8, Z5: connections are in flight until their peers have the answers, even if nothing is left to
/// write.
#[test]
fn answers_on_their_way_count_as_in_flight() {
    let mut server = hyper(&[("GRACE_MS", "1000")]);
    let request = format!("GET /bytes/{MUCH} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    let _conns = [(); 2].map(|()| {
        let mut conn = small(&server);
        conn.write_all(request.as_bytes())
            .expect("an open connection");
        conn.read_exact(&mut [0; 100]).expect("the head");
        conn
    });
    // Until the server has finished the other request, which may be in flight too.
    let _other = idle(&server);
    server.signal(Signal::TERM).expect("a live process");
    let exit = end(&mut server);
    assert!(exit.report.contains("2 abandoned"), "{}", exit.stderr);
    for too_few in [": 0 in flight", ": 1 in flight"] {
        assert!(!exit.report.contains(too_few), "{}", exit.report);
    }
}

fn abandoned_one(exit: &Exit) {
    assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
    assert!(exit.report.contains("1 abandoned"), "{}", exit.stderr);
    assert!(exit.stderr.contains("GET /bytes/"), "{}", exit.stderr);
}

/// S8: if a peer disconnects without its answer, nothing is abandoned.
#[test]
fn a_peer_that_leaves_in_the_middle_of_its_answer_is_not_abandoned() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let conn = ask_for_much(&server);
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    drop(conn);
    drained(&mut server);
}
