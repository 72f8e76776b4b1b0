//! Uploads that are answered before they have been read.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use async_drain::Drain;
use futures_lite::{AsyncReadExt, future::block_on};
use http_types::{Request, Response};
use smol::channel;

use crate::{
    example::{AT_ONCE, drained, each, last_answer, terminate},
    scene::Scene,
    support::client::Conn,
};

/// Z5: a task that has read its upload may keep the request: the next upload on the connection is
/// left to its own task.
#[test]
fn a_request_that_is_kept_does_not_cut_the_next_upload() {
    let drain = Drain::new();
    let (sender, receiver) = channel::bounded(1);
    let scene = Scene::open(&drain, move |request: Request| {
        let sender = sender.clone();
        async move {
            sender.send(request).await.expect("a receiver");
            Ok(Response::new(202))
        }
    });
    let accepted = |begin: &str| {
        let head = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n";
        scene.request(&format!("{head}{begin}"));
        assert!(scene.read_head().starts_with("HTTP/1.1 202 "));
        receiver.try_recv().expect("a request")
    };
    let read = |request: &mut Request| {
        let mut upload = Vec::new();
        let reading = scene.executor.run(request.read_to_end(&mut upload));
        block_on(reading).expect("an upload");
        upload
    };
    let mut first = accepted("helloworld");
    assert_eq!(read(&mut first), b"helloworld");
    let mut second = accepted("hello");
    drop(first);
    while scene.executor.try_tick() {}
    scene.send("world");
    assert_eq!(read(&mut second), b"helloworld");
}

/// Longer than an upload that has its answer is waited for, and shorter than a test waits.
const GRACE: (&str, &str) = ("GRACE_MS", "8000");

/// An upload that the server rejects, of ten bytes.
const REJECTED: &[u8] = b"POST /reject HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n";

/// An upload that the server rejects, and that takes longer than any grace period.
const ENDLESS: &[u8] =
    b"POST /reject HTTP/1.1\r\nhost: test\r\ncontent-length: 10000000000\r\n\r\nhello";

/// Z8 S8: a peer that has its answer doesn't hold the exit by its upload, and is not abandoned.
#[test]
fn an_upload_that_was_rejected_does_not_hold_the_exit() {
    each(&[GRACE], |server| {
        let reject = |conn: &mut Conn| {
            conn.send(ENDLESS)?;
            let head = conn.read_response()?.head;
            assert_eq!(head.status, 401);
            io::Result::Ok(head)
        };
        let mut before = Conn::open(server.addr())?;
        let mut stalling = Conn::open(server.addr())?;
        let mut sending = Conn::open(server.addr())?;
        assert!(!reject(&mut before)?.closes());
        terminate(server)?;
        assert!(reject(&mut stalling)?.closes());
        assert!(reject(&mut sending)?.closes());
        let mut socket = sending.socket().try_clone()?;
        let uploading = thread::spawn(move || while socket.write_all(&[b'x'; 100]).is_ok() {});
        drained(server)?;
        uploading.join().expect("an upload that was ended");
        Ok(())
    });
}

/// Z8: a peer that pauses in its upload is not reset before it has read why it was rejected.
#[test]
fn a_rejected_upload_that_pauses_is_not_reset() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        terminate(server)?;
        conn.send(&[REJECTED, b"hello"].concat())?;
        conn.read_head()?;
        assert!(!conn.is_eof(Duration::from_millis(300))?);
        conn.send(b"world")?;
        assert!(conn.is_eof(AT_ONCE)?);
        drained(server)?;
        Ok(())
    });
}

/// Until draining begins, a rejected upload may pause for longer, and its connection is kept.
#[test]
fn a_rejected_upload_has_no_limit_before_draining() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.send(&[REJECTED, b"hello"].concat())?;
        assert!(!conn.read_response()?.head.closes());
        assert!(!conn.is_eof(Duration::from_millis(2500))?);
        conn.send(b"world")?;
        terminate(server)?;
        conn.get("/")?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}
