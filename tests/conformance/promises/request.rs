use std::{thread, time::Duration};

use rustix::process::Signal;

use super::{Probed, TIMEOUT, answered, begin, check, drained, hello, settle};
use testkit::client::Conn;

use crate::subject::Subject;

pub(super) fn lame_duck(subject: &Subject) -> Probed {
    let mut server = subject.start(&[("LAME_DUCK_MS", "3000")])?;
    let mut before = hello(server.addr())?;
    server.signal(Signal::TERM)?;
    // The server decides when the phase changes.
    let unready = loop {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/readyz")?;
        let response = conn.read_response()?;
        if response.head.status != 200 {
            break response.head;
        }
        thread::sleep(Duration::from_millis(5));
    };
    check(unready.status == 503, format!("{unready:?}"))?;
    check(unready.closes(), "the answer does not say close")?;
    for path in ["/livez", "/"] {
        let mut conn = Conn::open(server.addr())?;
        conn.get(path)?;
        // Whether the answer says close is the server's policy.
        answered(&mut conn)?;
    }
    before.get("/")?;
    check(answered(&mut before)?, "the answer does not say close")?;
    drained(&mut server).map(drop)
}

pub(super) fn ready_in_lame_duck(subject: &Subject) -> Probed {
    let mut server = subject.start(&[("LAME_DUCK_MS", "1000"), ("READY", "kubernetes")])?;
    let mut before = hello(server.addr())?;
    server.signal(Signal::TERM)?;
    // The server decides when the phase changes: from then on its answers say close.
    loop {
        before.get("/readyz")?;
        if answered(&mut before)? {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    drained(&mut server).map(drop)
}

pub(super) fn in_flight(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = hello(server.addr())?;
    conn.get("/sleep/500")?;
    settle(&server)?;
    begin(&server)?;
    check(answered(&mut conn)?, "the answer does not say close")?;
    check(conn.is_eof(TIMEOUT)?, "the connection is left open")?;
    drained(&mut server).map(drop)
}

pub(super) fn half_head(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = Conn::open(server.addr())?;
    conn.send(b"GET / HTTP/1.1\r\nho")?;
    settle(&server)?;
    begin(&server)?;
    conn.send(b"st: test\r\n\r\n")?;
    check(answered(&mut conn)?, "the answer does not say close")?;
    drained(&mut server).map(drop)
}

pub(super) fn half_head_for_ever(subject: &Subject) -> Probed {
    let mut server = subject.start(&[("GRACE_MS", "500")])?;
    let mut conn = Conn::open(server.addr())?;
    conn.send(b"GET / HTTP/1.1\r\nho")?;
    settle(&server)?;
    begin(&server)?;
    // Closed in time or cut at the end of the grace period, both is bounded.
    let exit = server.wait(TIMEOUT)?;
    let limit = Duration::from_secs(4);
    check(exit.elapsed < limit, format!("it took {:?}", exit.elapsed))
}

pub(super) fn half_closed(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = Conn::open(server.addr())?;
    conn.get("/sleep/300")?;
    conn.finish_sending()?;
    settle(&server)?;
    begin(&server)?;
    answered(&mut conn)?;
    drained(&mut server).map(drop)
}
