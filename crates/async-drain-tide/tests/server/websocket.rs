//! An upgraded connection.

use std::{
    io::{Read, Result, Write},
    net::TcpStream,
};

use rustix::process::Signal;

use crate::{
    example::{AT_ONCE, drained, each},
    support::{client::Conn, process::Server},
};

/// Returns a whole message as one frame (RFC 6455), masked with zeros, which leaves its payload as
/// it is.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    let mut frame = vec![0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

fn read_frame(mut socket: &TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    socket.read_exact(&mut head)?;
    let mut payload = vec![0; usize::from(head[1])];
    socket.read_exact(&mut payload)?;
    Ok((head[0] & 0x0f, payload))
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// Opens a WebSocket, and exchanges a message.
fn open(server: &Server) -> Result<Conn> {
    let mut conn = Conn::open(server.addr())?;
    conn.send(
        b"GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let head = conn.read_head()?;
    assert_eq!(head.status, 101);
    // The key and the answer are those of RFC 6455, 1.3.
    let accept = head.header("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    conn.send(&frame(TEXT, b"hello"))?;
    assert_eq!(read_frame(conn.socket())?, (TEXT, b"hello".to_vec()));
    Ok(conn)
}

/// Z6: a WebSocket is told with 1001 when draining begins, and the exit waits for it.
#[test]
fn a_websocket_is_told_to_leave_and_waited_for() {
    each(&[], |server| {
        let mut conn = open(server)?;
        server.signal(Signal::TERM)?;
        let (opcode, payload) = read_frame(conn.socket())?;
        assert_eq!(opcode, CLOSE);
        assert!(payload.starts_with(&AWAY), "{payload:?}");
        conn.socket().write_all(&frame(CLOSE, &AWAY))?;
        assert!(conn.is_eof(AT_ONCE)?);
        drained(server)?;
        Ok(())
    });
}

/// Z6 Z12: a WebSocket whose peer doesn't answer is closed when aborting begins.
#[test]
fn a_websocket_is_closed_when_aborting_begins() {
    each(&[("GRACE_MS", "300")], |server| {
        let conn = open(server)?;
        server.signal(Signal::TERM)?;
        assert_eq!(read_frame(conn.socket())?.0, CLOSE);
        let exit = server.wait(AT_ONCE)?;
        assert_eq!(exit.status.code(), Some(1), "{exit:?}");
        assert!(exit.stderr.contains("GET /ws"), "{exit:?}");
        assert!(!exit.report.contains("still running"), "{exit:?}");
        Ok(())
    });
}
