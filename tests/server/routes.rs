//! The routes that the HTTP servers offer to tests and load tools, as far as no other test would
//! miss them.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use testkit::{
    frames::Frame,
    h2::H2Conn,
    process::Server,
    server,
    subject::{connect, drained, hyper},
};

/// How long a tunnel goes on after it has said `bye`.
const AFTER_BYE: std::ops::Range<Duration> = Duration::from_millis(900)..Duration::from_secs(3);

const CONNECT: &[u8] = b"CONNECT tunnel:80 HTTP/1.1\r\nhost: tunnel:80\r\n\r\n";

/// Z6: over HTTP/1 a tunnel has the whole connection.
#[test]
fn a_tunnel_says_bye_when_draining_begins_and_ends_a_second_later() {
    for name in ["hyper", "local", "axum"] {
        let mut server = Server::start(server(name), &[]).expect("a server");
        let mut conn = connect(&server);
        conn.send(CONNECT).expect("room");
        assert_eq!(conn.read_head().expect("an answer").status, 200, "{name}");
        let mut socket = conn.socket();
        let mut echo = [0; 4];
        socket.write_all(b"ping").expect("room");
        socket.read_exact(&mut echo).expect("an echo");
        assert_eq!(&echo, b"ping", "{name}");

        server.signal(Signal::TERM).expect("it runs");
        let mut bye = [0; 4];
        socket.read_exact(&mut bye).expect("a farewell");
        let told = Instant::now();
        assert_eq!(&bye, b"bye\n", "{name}");
        assert_eq!(socket.read(&mut bye).expect("no reset"), 0, "{name}");
        assert!(AFTER_BYE.contains(&told.elapsed()), "{:?}", told.elapsed());
        drained(&mut server);
    }
}

/// Z6: over HTTP/2 a tunnel is a stream.
#[test]
fn a_tunnel_in_a_stream_says_bye_and_ends_a_second_later() {
    let mut server = hyper(&[]);
    let mut conn = H2Conn::open(server.addr()).expect("it listens");
    let tunnel = conn.connect("tunnel:80").expect("room");
    let status = |frame: &Frame| match frame {
        Frame::Headers { status, .. } => *status,
        _ => None,
    };
    assert_eq!(conn.find("an answer", status).expect("an answer"), 200);
    let data = |frame: &Frame| match frame {
        Frame::Data { bytes, .. } => Some(bytes.clone()),
        _ => None,
    };
    conn.send_data(tunnel, b"ping", false).expect("room");
    assert_eq!(conn.find("an echo", data).expect("an echo"), b"ping");

    server.signal(Signal::TERM).expect("it runs");
    assert_eq!(conn.find("a farewell", data).expect("it"), b"bye\n");
    let told = Instant::now();
    let end = |frame: &Frame| matches!(frame, Frame::Data { end: true, .. }).then_some(());
    conn.find("the end of the stream", end).expect("no reset");
    assert!(AFTER_BYE.contains(&told.elapsed()), "{:?}", told.elapsed());
    drained(&mut server);
}

/// The answer is sent before the upload is read, and the server prints how much it has read.
#[test]
fn an_upload_that_was_answered_early_is_read_to_its_end() {
    let server = hyper(&[]);
    let mut conn = connect(&server);
    conn.send(b"POST /accepted HTTP/1.1\r\nhost: test\r\ncontent-length: 300000\r\n\r\n")
        .expect("room");
    assert_eq!(conn.read_response().expect("an answer").head.status, 202);
    conn.send(&vec![b'u'; 300_000]).expect("room");
    let read = "an upload of 300000 bytes was read";
    let said = server.wait_for_stdout(read, Duration::from_secs(10));
    said.expect("all of it");
}

/// A body has the length that was asked for, in one frame or many.
#[test]
fn bodies_of_one_frame_and_of_many_are_as_long_as_they_should_be() {
    let server = hyper(&[]);
    let mut conn = connect(&server);
    for path in ["/full/300000", "/bytes/300000"] {
        conn.get(path).expect("room");
        let answer = conn.read_response().expect("an answer");
        assert_eq!(answer.body.len(), 300_000, "{path}");
    }
}
