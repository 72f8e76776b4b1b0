//! Requests in flight when draining begins.

use rustix::process::Signal;

use crate::{
    example::{AT_ONCE, CHUNKED, UPLOAD, drained, each, last_answer, terminate, until_refused},
    support::client::Conn,
};

/// Z3 Z5: a request in flight is answered, and its answer says `close`.
#[test]
fn a_request_in_flight_is_answered() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/sleep/300")?;
        server.signal(Signal::TERM)?;
        assert_eq!(last_answer(&mut conn)?.body, b"slept\n");
        let exit = drained(server)?;
        assert!(exit.elapsed < AT_ONCE, "{exit:?}");
        Ok(())
    });
}

/// A peer that has closed its sending half is answered.
#[test]
fn a_half_closed_peer_is_answered() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/sleep/100")?;
        conn.finish_sending()?;
        server.signal(Signal::TERM)?;
        assert_eq!(last_answer(&mut conn)?.body, b"slept\n");
        drained(server)?;
        Ok(())
    });
}

/// Z5: a streamed body arrives whole. Its head could not say `close`, so the connection is idle
/// after it.
#[test]
fn a_streamed_answer_arrives_whole() {
    each(&[("KEEP_ALIVE_GRACE_MS", "50")], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/stream/5/50")?;
        assert!(!conn.read_head()?.closes());
        server.signal(Signal::TERM)?;
        let body = conn.read_body()?;
        assert_eq!(body, b"chunk 0\nchunk 1\nchunk 2\nchunk 3\nchunk 4\n");
        assert!(conn.is_eof(AT_ONCE)?);
        drained(server)?;
        Ok(())
    });
}

/// Z5 Z8: a slow reader gets all of its answer.
#[test]
fn a_slow_reader_gets_all_of_its_answer() {
    const LENGTH: usize = 20_000_000;
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get(&format!("/bytes/{LENGTH}"))?;
        conn.read_head()?;
        terminate(server)?;
        until_refused(server.addr())?;
        assert_eq!(conn.read_body()?.len(), LENGTH);
        drained(server)?;
        Ok(())
    });
}

/// Z4: a request that is being sent when draining begins may be sent to its end.
#[test]
fn an_upload_is_read_to_its_end() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.send(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhello")?;
        // The head of the echo is written before its body is read.
        let head = conn.read_head()?;
        assert_eq!(head.status, 200);
        terminate(server)?;
        conn.send(b"world")?;
        assert_eq!(conn.read_body()?, b"helloworld");
        drop(conn);
        drained(server)?;
        Ok(())
    });
}

/// Z8: a peer that is answered before its body is read gets the answer.
#[test]
fn an_answer_given_before_the_body_is_read_arrives() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.send(b"POST /reject HTTP/1.1\r\nhost: test\r\ncontent-length: 300000\r\n\r\n")?;
        terminate(server)?;
        conn.send(&vec![b'x'; 300_000])?;
        let response = conn.read_response()?;
        assert_eq!(response.head.status, 401);
        drop(conn);
        drained(server)?;
        Ok(())
    });
}

/// Requests that arrive together are answered one after the other.
#[test]
fn pipelined_requests_are_answered() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        let upload = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello";
        let get = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
        conn.send(format!("{get}{upload}{get}").as_bytes())?;
        for body in ["hello\n", "hello", "hello\n"] {
            let response = conn.read_response()?;
            assert_eq!(response.head.status, 200);
            assert_eq!(response.body, body.as_bytes());
        }
        conn.get("/sleep/100")?;
        server.signal(Signal::TERM)?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}

/// A chunked upload ends with its trailers: what follows is the next request.
#[test]
fn a_request_behind_a_chunked_one_is_answered() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.send(&[CHUNKED, UPLOAD, CHUNKED, CHUNKED].concat())?;
        for _ in 0..4 {
            let response = conn.read_response()?;
            assert_eq!(response.head.status, 200);
            assert_eq!(response.body, b"hello");
        }
        terminate(server)?;
        conn.send(&[CHUNKED, UPLOAD].concat())?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}

/// Trailers that arrive in several reads end the upload.
#[test]
fn trailers_may_arrive_in_pieces() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        let upload = b"POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
            5\r\nhello\r\n0\r\na: b\r\n\r\n";
        let mut sent = 0;
        // Once the first chunk is echoed, the server reads the trailers.
        for end in [
            upload.len() - 11,
            upload.len() - 6,
            upload.len() - 3,
            upload.len() - 1,
        ] {
            conn.send_until_read(&upload[sent..end])?;
            sent = end;
            if end == upload.len() - 11 {
                conn.read_head()?;
                assert_eq!(conn.next_chunk()?.as_deref(), Some(&b"hello"[..]));
            }
        }
        conn.send(&upload[sent..])?;
        assert_eq!(conn.next_chunk()?, None);
        drop(conn);
        server.signal(Signal::TERM)?;
        drained(server)?;
        Ok(())
    });
}

/// async-h1 would write a `100 Continue` into the middle of the answer, whose head it wrote first.
#[test]
fn an_answer_is_not_mixed_with_a_continue() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.send(
            b"POST /echo HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n\
              content-length: 5\r\n\r\n",
        )?;
        // The head of the echo is written before its body is read.
        assert_eq!(conn.read_head()?.status, 200);
        conn.send(b"hello")?;
        assert_eq!(conn.read_body()?, b"hello");
        assert!(conn.is_eof(AT_ONCE)?);
        server.signal(Signal::TERM)?;
        drained(server)?;
        Ok(())
    });
}

/// Z5: a peer that is refused may never send the body that it asked to send.
#[test]
fn a_body_that_was_refused_is_not_waited_for() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.send(
            b"POST /reject HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n\
              content-length: 5\r\n\r\n",
        )?;
        let head = conn.read_response()?.head;
        assert!(head.status == 401 && head.closes(), "{head:?}");
        assert!(conn.is_eof(AT_ONCE)?);
        server.signal(Signal::TERM)?;
        drained(server)?;
        Ok(())
    });
}

/// Z5: an upload that was answered early is read to its end by the handler's task, and by nothing
/// else.
#[test]
fn an_upload_that_was_answered_early_is_read_by_its_handler() {
    for (head, body) in [
        ("content-length: 100000", vec![b'x'; 100_000]),
        (
            "transfer-encoding: chunked",
            [b"186a0\r\n", &vec![b'x'; 100_000][..], b"\r\n0\r\n\r\n"].concat(),
        ),
    ] {
        each(&[], |server| {
            let mut conn = Conn::open(server.addr())?;
            conn.send(
                format!("POST /accepted HTTP/1.1\r\nhost: test\r\n{head}\r\n\r\n").as_bytes(),
            )?;
            assert_eq!(conn.read_response()?.head.status, 202);
            let (first, rest) = body.split_at(50_000);
            conn.send(first)?;
            terminate(server)?;
            conn.send(rest)?;
            // The connection is kept, and idle once the upload is read.
            conn.get("/")?;
            last_answer(&mut conn)?;
            server.wait_for_stdout("an upload of 100000 bytes was read", AT_ONCE)?;
            drained(server)?;
            Ok(())
        });
    }
}

/// Z8 S8: an answer that the kernel has and its peer doesn't take by the end of the grace period is
/// reported as abandoned, though it was written.
#[test]
fn an_answer_that_its_peer_does_not_take_is_abandoned() {
    // Less than it takes to give the peer up.
    let grace = ("GRACE_MS", "500");
    each(&[grace, ("KEEP_ALIVE_GRACE_MS", "0")], |server| {
        let mut conn = Conn::open(server.addr())?;
        // More than the kernel takes for the peer, and less than it takes from the server.
        conn.get("/full/400000")?;
        conn.read_head()?;
        terminate(server)?;
        let exit = server.wait(2 * AT_ONCE)?;
        assert_eq!(exit.status.code(), Some(1), "{exit:?}");
        assert!(exit.report.contains("1 abandoned"), "{exit:?}");
        assert!(exit.stderr.contains("GET /full/400000"), "{exit:?}");
        Ok(())
    });
}
