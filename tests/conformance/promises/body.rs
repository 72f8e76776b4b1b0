use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use super::{Failure, Probed, TIMEOUT, begin, check, drained, settle};
use testkit::client::Conn;

use crate::subject::Subject;

pub(super) fn streamed(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = Conn::open(server.addr())?;
    conn.get("/stream/10/50")?;
    conn.read_head()?;
    begin(&server)?;
    let body = conn.read_body()?;
    check(body.ends_with(b"chunk 9\n"), String::from_utf8_lossy(&body))?;
    drained(&mut server).map(drop)
}

pub(super) fn slow_reader(subject: &Subject) -> Probed {
    const SIZE: usize = 20_000_000;
    let mut server = subject.start(&[])?;
    let mut conn = Conn::open(server.addr())?;
    conn.get(&format!("/bytes/{SIZE}"))?;
    conn.read_head()?;
    begin(&server)?;
    // The server is done with the body long before its peer.
    thread::sleep(Duration::from_millis(500));
    let mut read = 0;
    while let Some(bytes) = conn.next_chunk()? {
        read += bytes.len();
        if read % 7 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    check(read == SIZE, format!("{read} bytes came"))?;
    drained(&mut server).map(drop)
}

pub(super) fn upload(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = Conn::open(server.addr())?;
    conn.send(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhello")?;
    settle(&server)?;
    begin(&server)?;
    conn.send(b"world")?;
    let response = conn.read_response()?;
    check(response.body == b"helloworld", format!("{response:?}"))?;
    drained(&mut server).map(drop)
}

pub(super) fn websocket(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = Conn::open(server.addr())?;
    conn.send(
        b"GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let head = conn.read_head()?;
    if head.status == 501 {
        let why = "the example has no WebSocket";
        return Err(Failure::NotApplicable(why.to_owned()));
    }
    check(head.status == 101, format!("{head:?}"))?;
    begin(&server)?;
    let mut close = [0; 4];
    conn.socket().read_exact(&mut close)?;
    // A final close frame, and the first two bytes of its payload.
    let code = u16::from_be_bytes([close[2], close[3]]);
    check(close[0] == 0x88 && code == 1001, format!("{close:x?}"))?;
    // The same back, masked with zeros.
    conn.socket()
        .write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe9])?;
    drained(&mut server).map(drop)
}

pub(super) fn events(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = Conn::open(server.addr())?;
    conn.get("/events/20")?;
    conn.read_head()?;
    begin(&server)?;
    let body = conn.read_body()?;
    let text = String::from_utf8_lossy(&body);
    check(text.contains("event: leaving\ndata: "), &text)?;
    drained(&mut server).map(drop)
}

pub(super) fn rejected_upload(subject: &Subject) -> Probed {
    const SIZE: usize = 1_000_000;
    let mut server = subject.start(&[])?;
    let mut conn = Conn::open(server.addr())?;
    let head = format!("POST /reject HTTP/1.1\r\nhost: test\r\ncontent-length: {SIZE}\r\n\r\n");
    conn.send(head.as_bytes())?;
    settle(&server)?;
    begin(&server)?;
    for _ in 0..SIZE / 10_000 {
        // The first error would take the reset's place in what follows.
        conn.send(&[b'x'; 10_000])?;
        thread::sleep(Duration::from_millis(1));
    }
    let response = conn.read_response()?;
    check(response.head.status == 401, format!("{:?}", response.head))?;
    // A reset, which may overtake the answer on a real network, is an error here.
    check(conn.is_eof(TIMEOUT)?, "the connection is left open")?;
    drained(&mut server).map(drop)
}
