use std::{thread, time::Duration};

use rustix::process::Signal;

use super::{Probed, TIMEOUT, answered, begin, check, drained, hello, settle};
use testkit::client::Conn;

use crate::subject::Subject;

pub(super) fn kept_open(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = Conn::open(server.addr())?;
    conn.get("/stream/2/100")?;
    conn.read_head()?;
    begin(&server)?;
    conn.read_body()?;
    // The peer's side stays open until after the exit.
    let exit = drained(&mut server)?;
    let limit = Duration::from_millis(1900);
    check(exit.elapsed < limit, format!("it took {:?}", exit.elapsed))?;
    drop(conn);
    Ok(())
}

pub(super) fn begun_by_handler(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = Conn::open(server.addr())?;
    conn.get("/begin")?;
    check(answered(&mut conn)?, "the answer does not say close")?;
    drained(&mut server).map(drop)
}

pub(super) fn panicking(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut busy = Conn::open(server.addr())?;
    busy.get("/sleep/500")?;
    let mut panicking = Conn::open(server.addr())?;
    panicking.get("/panic")?;
    // Either a 500 or the end of the connection arrives.
    let _ = panicking.read_response();
    drop(hello(server.addr())?);
    begin(&server)?;
    answered(&mut busy)?;
    drained(&mut server).map(drop)
}

pub(super) fn cut(subject: &Subject) -> Probed {
    let mut server = subject.start(&[("GRACE_MS", "300")])?;
    let mut conn = Conn::open(server.addr())?;
    conn.get("/sleep/60000")?;
    settle(&server)?;
    begin(&server)?;
    let exit = server.wait(TIMEOUT)?;
    check(exit.status.code() == Some(1), exit.status)?;
    let limit = Duration::from_secs(4);
    check(exit.elapsed < limit, format!("it took {:?}", exit.elapsed))?;
    check(exit.stderr.contains("GET /sleep/60000"), &exit.stderr)
}

pub(super) fn second_signal(subject: &Subject) -> Probed {
    let mut server = subject.start(&[("GRACE_MS", "60000")])?;
    let mut conn = Conn::open(server.addr())?;
    conn.get("/sleep/60000")?;
    settle(&server)?;
    begin(&server)?;
    // Sent at once, it would be the same request.
    thread::sleep(Duration::from_millis(300));
    server.signal(Signal::TERM)?;
    let exit = server.wait(TIMEOUT)?;
    check(exit.status.code() == Some(1), exit.status)?;
    let limit = Duration::from_secs(4);
    check(exit.elapsed < limit, format!("it took {:?}", exit.elapsed))
}
