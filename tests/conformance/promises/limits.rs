//! Connections that end while the server runs.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Probed, TIMEOUT, answered, check, hello};
use testkit::client::Conn;

use crate::subject::Subject;

pub(super) fn idle(subject: &Subject) -> Probed {
    let server = subject.start(&[("IDLE_MS", "1000"), ("KEEP_ALIVE_GRACE_MS", "5000")])?;
    let mut conn = Conn::open(server.addr())?;
    conn.get("/")?;
    let head = conn.read_response()?.head;
    check(
        head.header("keep-alive") == Some("timeout=1"),
        format!("the limit is not advertised: {head:?}"),
    )?;
    // The limit, the second beyond it, and a little more.
    thread::sleep(Duration::from_millis(2_500));
    conn.get("/")?;
    check(answered(&mut conn)?, "the answer does not say close")?;
    check(conn.is_eof(TIMEOUT)?, "the connection is left open")
}

/// Server-sent events are told of the age of their connection, and end.
pub(super) fn told(subject: &Subject) -> Probed {
    let server = subject.start(&[("AGE_MS", "300")])?;
    let mut conn = Conn::open(server.addr())?;
    conn.get("/events/20")?;
    conn.read_head()?;
    let limit = Instant::now() + TIMEOUT;
    while let Some(event) = conn.next_chunk()? {
        if String::from_utf8_lossy(&event).contains("leaving") {
            return Ok(());
        }
        check(Instant::now() < limit, "the events go on")?;
    }
    check(false, "the events end without a farewell")
}

pub(super) fn age(subject: &Subject) -> Probed {
    let server = subject.start(&[("AGE_MS", "300")])?;
    let mut conn = hello(server.addr())?;
    let limit = Instant::now() + TIMEOUT;
    loop {
        conn.get("/")?;
        if answered(&mut conn)? {
            break;
        }
        check(Instant::now() < limit, "no answer says close")?;
        thread::sleep(Duration::from_millis(50));
    }
    check(conn.is_eof(TIMEOUT)?, "the connection is left open")
}
