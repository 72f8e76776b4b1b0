use std::time::Duration;

use super::{Probed, TIMEOUT, answered, begin, check, drained, hello};
use testkit::client::Conn;

use crate::subject::Subject;

pub(super) fn one_more(subject: &Subject) -> Probed {
    let mut server = subject.start(&[("KEEP_ALIVE_GRACE_MS", "5000")])?;
    let mut idle = hello(server.addr())?;
    begin(&server)?;
    idle.get("/")?;
    check(answered(&mut idle)?, "the answer does not say close")?;
    check(idle.is_eof(TIMEOUT)?, "the connection is left open")?;
    drained(&mut server).map(drop)
}

pub(super) fn closed(subject: &Subject) -> Probed {
    let mut server = subject.start(&[("KEEP_ALIVE_GRACE_MS", "200")])?;
    let mut idle = hello(server.addr())?;
    begin(&server)?;
    check(idle.is_eof(TIMEOUT)?, "the connection is left open")?;
    let exit = drained(&mut server)?;
    let limit = Duration::from_secs(3);
    check(exit.elapsed < limit, format!("it took {:?}", exit.elapsed))
}

pub(super) fn first_request(subject: &Subject) -> Probed {
    let mut server = subject.start(&[("FIRST_REQUEST_GRACE_MS", "5000")])?;
    let mut silent = Conn::open(server.addr())?;
    // Accepted by the time that a later one is answered.
    drop(hello(server.addr())?);
    begin(&server)?;
    silent.get("/")?;
    check(answered(&mut silent)?, "the answer does not say close")?;
    drained(&mut server).map(drop)
}

pub(super) fn silent(subject: &Subject) -> Probed {
    let graces = [
        ("FIRST_REQUEST_GRACE_MS", "200"),
        ("KEEP_ALIVE_GRACE_MS", "100"),
    ];
    let mut server = subject.start(&graces)?;
    let mut silent = Conn::open(server.addr())?;
    // Accepted by the time that a later one is answered: the queue is another promise.
    drop(hello(server.addr())?);
    begin(&server)?;
    check(silent.is_eof(TIMEOUT)?, "the connection is left open")?;
    let exit = drained(&mut server)?;
    let limit = Duration::from_secs(3);
    check(exit.elapsed < limit, format!("it took {:?}", exit.elapsed))
}
