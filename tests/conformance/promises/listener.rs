use std::{process::Command, time::Duration};

use rustix::process::Signal;

use super::{Probed, TIMEOUT, answered, begin, check, drained, hello, until_refused};
use testkit::{client::Conn, process::Server};

use crate::subject::Subject;

pub(super) fn queued(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    // A frozen process accepts no connections.
    server.stop()?;
    let mut queued = Vec::new();
    for _ in 0..20 {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/")?;
        queued.push(conn);
    }
    server.signal(Signal::TERM)?;
    server.cont()?;
    for conn in &mut queued {
        answered(conn)?;
    }
    drained(&mut server).map(drop)
}

pub(super) fn refused(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut busy = Conn::open(server.addr())?;
    busy.get("/stream/15/100")?;
    busy.read_head()?;
    server.signal(Signal::TERM)?;
    until_refused(server.addr())?;
    check(
        server.wait(Duration::ZERO).is_err(),
        "it had ended, so of course",
    )?;
    busy.read_body()?;
    Ok(())
}

pub(super) fn descriptors(subject: &Subject) -> Probed {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 40; exec \"$0\""])
        .arg(subject.program())
        .env("ADDR", "127.0.0.1:0");
    let mut server = Server::spawn(command)?;
    let mut first = hello(server.addr())?;
    let queued: Result<Vec<_>, _> = (0..80).map(|_| Conn::open(server.addr())).collect();
    let queued = queued?;
    first.get("/")?;
    answered(&mut first)?;
    drop(queued);
    drop(hello(server.addr())?);
    begin(&server)?;
    check(first.is_eof(TIMEOUT)?, "an idle connection is left open")?;
    drained(&mut server).map(drop)
}
