//! Connections that do nothing when draining begins.

use std::time::Duration;

use crate::{
    example::{AT_ONCE, drained, each, last_answer, terminate},
    support::client::Conn,
};

const LONG: &str = "60000";

/// Z2: a kept-alive connection may place one more request, and is closed by its answer, long before the grace is over.
#[test]
fn a_kept_alive_one_gets_one_more_request() {
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

/// Z2: within the keep-alive grace, and no longer.
#[test]
fn a_kept_alive_one_is_closed_after_its_grace() {
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

/// Z4: who has sent nothing yet may send its first request.
#[test]
fn a_silent_one_gets_its_first_request() {
    each(&[("FIRST_REQUEST_GRACE_MS", LONG)], |server| {
        let mut conn = Conn::open(server.addr())?;
        terminate(server)?;
        conn.get("/")?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}

/// Z4: within the first-request grace.
#[test]
fn a_silent_one_is_closed_after_its_grace() {
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

/// Z4: half a head is a request begun.
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

/// Z4: bounded by the grace period; and the report names it.
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
