//! Connections without a request in flight when draining begins.

use std::time::Duration;

use crate::{
    example::{AT_ONCE, CHUNKED, UPLOAD, drained, each, last_answer, terminate},
    support::client::Conn,
};

const LONG: &str = "60000";

/// Z2: an idle connection may send one more request, and its answer ends it before the grace does.
#[test]
fn an_idle_connection_may_send_one_more_request() {
    each(&[("KEEP_ALIVE_GRACE_MS", LONG)], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/")?;
        assert!(!conn.read_response()?.head.closes());
        terminate(server)?;
        conn.get("/")?;
        last_answer(&mut conn)?;
        let exit = drained(server)?;
        assert!(exit.elapsed < AT_ONCE, "{exit:?}");
        Ok(())
    });
}

/// Z2: an idle connection is closed at the end of the keep-alive grace.
#[test]
fn an_idle_connection_is_closed_after_its_grace() {
    each(&[("KEEP_ALIVE_GRACE_MS", "300")], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/")?;
        conn.read_response()?;
        terminate(server)?;
        assert!(conn.is_eof(AT_ONCE)?);
        let exit = drained(server)?;
        assert!(exit.elapsed >= Duration::from_millis(300), "{exit:?}");
        Ok(())
    });
}

/// Z4: a connection that has sent nothing yet may send its first request.
#[test]
fn a_silent_connection_may_send_its_first_request() {
    each(&[("FIRST_REQUEST_GRACE_MS", LONG)], |server| {
        let mut conn = Conn::open(server.addr())?;
        terminate(server)?;
        conn.get("/")?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}

/// Z4: a silent connection is closed at the end of the first-request grace.
#[test]
fn a_silent_connection_is_closed_after_its_grace() {
    let graces = [
        ("KEEP_ALIVE_GRACE_MS", "100"),
        ("FIRST_REQUEST_GRACE_MS", "300"),
    ];
    each(&graces, |server| {
        let mut conn = Conn::open(server.addr())?;
        terminate(server)?;
        assert!(conn.is_eof(AT_ONCE)?);
        drained(server)?;
        Ok(())
    });
}

/// Z4: half a head is a request that has begun.
#[test]
fn half_a_head_may_be_finished() {
    let graces = [
        ("KEEP_ALIVE_GRACE_MS", "0"),
        ("FIRST_REQUEST_GRACE_MS", "0"),
    ];
    each(&graces, |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.send(b"GET / HTTP/1.1\r\nho")?;
        terminate(server)?;
        conn.send(b"st: test\r\n\r\n")?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}

/// Z4: the grace period ends half a head, and the report counts it as abandoned.
#[test]
fn half_a_head_does_not_outlive_the_grace_period() {
    each(&[("GRACE_MS", "500")], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.send(b"GET / HTTP/1.1\r\nho")?;
        terminate(server)?;
        let exit = server.wait(AT_ONCE)?;
        assert_eq!(exit.status.code(), Some(1), "{exit:?}");
        assert!(exit.report.starts_with("aborted: "), "{exit:?}");
        assert!(exit.report.contains("1 abandoned"), "{exit:?}");
        Ok(())
    });
}

/// Z4: an empty line is not a request (RFC 9112, 2.2), neither after a request nor on a new
/// connection.
#[test]
fn an_empty_line_is_not_a_request() {
    let graces = [
        ("GRACE_MS", LONG),
        ("KEEP_ALIVE_GRACE_MS", "100"),
        ("FIRST_REQUEST_GRACE_MS", "100"),
    ];
    each(&graces, |server| {
        let mut answered = Conn::open(server.addr())?;
        answered.send(UPLOAD)?;
        answered.read_response()?;
        let mut silent = Conn::open(server.addr())?;
        for conn in [&mut answered, &mut silent] {
            conn.send(b"\r\n")?;
        }
        terminate(server)?;
        for conn in [&mut answered, &mut silent] {
            assert!(conn.is_eof(AT_ONCE)?);
        }
        drained(server)?;
        Ok(())
    });
}

/// A request is answered after any number of empty lines.
#[test]
fn empty_lines_before_a_request_are_ignored() {
    each(&[], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.send(b"\r\n\r\n\r\n")?;
        for _ in 0..2 {
            conn.send(UPLOAD)?;
            assert_eq!(conn.read_response()?.body, b"hello");
            conn.send(b"\r\n")?;
        }
        terminate(server)?;
        conn.send(UPLOAD)?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}

/// Z4: half a head is a request that has begun, even in the segment of a request that was answered.
#[test]
fn half_a_head_behind_a_request_may_be_finished() {
    let graces = [
        ("KEEP_ALIVE_GRACE_MS", "0"),
        ("FIRST_REQUEST_GRACE_MS", "0"),
    ];
    for request in [UPLOAD, CHUNKED] {
        each(&graces, |server| {
            let mut conn = Conn::open(server.addr())?;
            conn.send(&[request, b"\r\nGET / HTTP/1.1\r\nho"].concat())?;
            assert_eq!(conn.read_response()?.body, b"hello");
            terminate(server)?;
            conn.send(b"st: test\r\n\r\n")?;
            last_answer(&mut conn)?;
            drained(server)?;
            Ok(())
        });
    }
}
