//! The test clients themselves: a test with a wrong client proves nothing about the server.

use crate::support::client::Conn;
use crate::support::frames::{Frame, NO_LIMIT, REFUSED_STREAM, Session};
use crate::support::h2::{Answer, H2Conn};
use crate::support::process::Server;
use crate::support::response::{Decoder, Event};
use rustix::process::Signal;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

const AT_ONCE: Duration = Duration::from_secs(5);

/// Decodes bytes that arrive one by one, and returns the statuses, the bodies and how the
/// connection ended.
fn decode(bytes: &[u8]) -> (Vec<u16>, Vec<u8>, Option<ErrorKind>) {
    let mut decoder = Decoder::new();
    let (mut statuses, mut body) = (Vec::new(), Vec::new());
    for byte in bytes {
        decoder.fill(&[*byte]);
        loop {
            match decoder.next_event() {
                Ok(Some(Event::Head(head))) => statuses.push(head.status),
                Ok(Some(Event::Data(bytes))) => body.extend(bytes),
                Ok(Some(Event::End)) => body.push(b'|'),
                Ok(None) => break,
                Err(error) => return (statuses, body, Some(error.kind())),
            }
        }
    }
    let end = decoder.finish().err();
    (statuses, body, end.map(|error| error.kind()))
}

#[test]
fn a_response_ends_where_its_head_says() {
    let eof = Some(ErrorKind::UnexpectedEof);
    let invalid = Some(ErrorKind::InvalidData);
    for (bytes, statuses, body, end) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            vec![200],
            "hi|",
            eof,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",
            vec![200],
            "hi",
            eof,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", vec![204], "|", eof),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 \r\ncontent-length: 0\r\n\r\n",
            vec![401],
            "|",
            eof,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nhi\r\nA\r\n0123456789\r\n0\r\nt: v\r\n\r\n",
            vec![200],
            "hi0123456789|",
            eof,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
            vec![200],
            "hi",
            eof,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhiX\r\n",
            vec![200],
            "hi",
            invalid,
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\nuntil the end",
            vec![200],
            "until the end",
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200",
            vec![200],
            "|",
            eof,
        ),
        ("SSH-2.0\r\n\r\n", vec![], "", invalid),
    ] {
        let expected = (statuses, body.as_bytes().to_vec(), end);
        assert_eq!(decode(bytes.as_bytes()), expected, "{bytes:?}");
    }
}

/// Accepts one connection, on which a script plays the server.
fn scripted(script: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound listener");
    thread::spawn(move || script(listener.accept().expect("the client connects").0));
    addr
}

#[test]
fn a_connection_shows_its_end() {
    let addr = scripted(|mut peer| {
        peer.read_exact(&mut [0; 30]).expect("a request");
        peer.write_all(
            b"HTTP/1.1 200 OK\r\nconnection: Keep-Alive, Close\r\ncontent-length: 5\r\n\r\nhello",
        )
        .expect("room for the answer");
        // This side closes once the client has half-closed.
        let _ = peer.read(&mut [0]);
    });
    let mut conn = Conn::open(addr).expect("the peer listens");
    conn.get("/").expect("the peer reads");
    let response = conn.read_response().expect("an answer");
    assert_eq!(
        (response.head.status, response.body),
        (200, b"hello".to_vec())
    );
    assert!(response.head.closes());
    assert!(!conn.is_eof(Duration::from_millis(10)).expect("no reset"));
    conn.finish_sending().expect("an open socket");
    assert!(conn.is_eof(AT_ONCE).expect("no reset"));
}

/// Returns a server's frame without a payload.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let size = u8::try_from(payload.len()).expect("a small frame");
    [&[0, 0, size, kind, flags, 0, 0, 0, stream], payload].concat()
}

#[test]
fn a_status_is_read_in_every_encoding() {
    for (block, status) in [
        (vec![0x88], 200),
        (vec![0x20, 0x8c], 400),
        (vec![0x08, 3, b'4', b'0', b'1'], 401),
        // 5 "0" 3: 011011 00000 011001, padded with ones.
        (vec![0x48, 0x83, 0x6c, 0x0c, 0xff], 503),
        // 1 0 1: 00001 00000 00001.
        (vec![0x08, 0x82, 0x08, 0x03], 101),
    ] {
        let mut session = Session::new();
        session.fill(&frame(1, 4, 1, &block));
        let expected = Frame::Headers {
            stream: 1,
            status: Some(status),
            end: false,
        };
        assert_eq!(
            session.next_frame().expect("a whole frame"),
            Some(expected),
            "{block:x?}"
        );
    }
}

#[test]
fn both_goaways_and_the_fate_of_each_stream_are_seen() {
    let addr = scripted(|mut peer| {
        peer.read_exact(&mut [0; 24]).expect("a preface");
        let frames = [
            frame(4, 0, 0, &[]),
            frame(7, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
            frame(3, 0, 3, &REFUSED_STREAM.to_be_bytes()),
            frame(1, 4, 1, &[0x88]),
            frame(0, 1, 1, b"hello"),
            frame(7, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 0]),
        ];
        peer.write_all(&frames.concat())
            .expect("room for the frames");
        // Waits until the client closes: closing with bytes unread would reset the connection.
        let _ = peer.read_to_end(&mut Vec::new());
    });
    let mut conn = H2Conn::open(addr).expect("the peer listens");
    let streams = [(); 3].map(|()| conn.get("/").expect("the peer reads"));
    assert_eq!(streams, [1, 3, 5]);
    let mut answer = |stream| conn.read_answer(stream).expect("an end of the stream");
    assert_eq!(answer(5), Answer::AboveGoAway { last_stream: 3 });
    assert_eq!(
        answer(3),
        Answer::Reset {
            code: REFUSED_STREAM
        }
    );
    assert_eq!(
        answer(1),
        Answer::Complete {
            status: 200,
            body: b"hello".to_vec()
        }
    );
    assert_eq!(conn.read_goaway().expect("the first"), (NO_LIMIT, 0));
    assert_eq!(conn.read_goaway().expect("the second"), (3, 0));
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_process_is_started_signalled_and_waited_for() {
    let script = "echo listening on 127.0.0.1:1; trap 'echo going >&2; exit 3' TERM; echo ready; \
                  while :; do sleep 0.01; done";
    let mut server = Server::spawn(shell(script)).expect("a shell");
    assert_eq!(server.addr().port(), 1);
    server
        .wait_for_stdout("ready", AT_ONCE)
        .expect("the trap is set");
    server.stop().expect("a live process");
    server.signal(Signal::TERM).expect("a live process");
    let early = server
        .wait(Duration::from_millis(50))
        .expect_err("a frozen process does not end");
    assert_eq!(early.kind(), ErrorKind::TimedOut);
    server.cont().expect("a live process");
    let exit = server.wait(AT_ONCE).expect("an end");
    assert_eq!(
        (exit.status.code(), exit.report.as_str()),
        (Some(3), "going")
    );
    assert!(
        exit.elapsed >= Duration::from_millis(50),
        "{:?}",
        exit.elapsed
    );
}

#[test]
fn a_process_that_does_not_listen_is_an_error_with_its_reason() {
    let error = Server::spawn(shell("echo no such port >&2; exit 2")).expect_err("it ended");
    assert!(error.to_string().contains("no such port"), "{error}");
}
