use super::{Failure, Probed, begin, check, drained};
use crate::subject::Subject;
use testkit::{
    frames::NO_LIMIT,
    h2::{Answer, H2Conn},
    process::Server,
};

/// Opens a connection, and waits for one answer.
fn connect(server: &Server) -> Result<H2Conn, Failure> {
    let mut conn = H2Conn::open(server.addr())?;
    let stream = conn.get("/")?;
    complete(conn.read_answer(stream)?)?;
    Ok(conn)
}

fn complete(answer: Answer) -> Result<Vec<u8>, Failure> {
    match answer {
        Answer::Complete { status: 200, body } => Ok(body),
        other => Err(Failure::Broken(format!("{other:?}"))),
    }
}

pub(super) fn goaway(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = connect(&server)?;
    let streams = [conn.get("/sleep/500")?, conn.get("/stream/10/50")?];
    begin(&server)?;
    let first = conn.read_goaway()?;
    check(first == (NO_LIMIT, 0), format!("the first is {first:?}"))?;
    for stream in streams {
        complete(conn.read_answer(stream)?)?;
    }
    let second = conn.read_goaway()?;
    check(
        second == (streams[1], 0),
        format!("the second is {second:?}"),
    )?;
    conn.read_to_end()?;
    drained(&mut server).map(drop)
}

pub(super) fn late_stream(subject: &Subject) -> Probed {
    let mut server = subject.start(&[])?;
    let mut conn = connect(&server)?;
    let asleep = conn.get("/sleep/500")?;
    begin(&server)?;
    // Before anything is read: as a client to which the GOAWAY is still on its way.
    let late = conn.get("/")?;
    complete(conn.read_answer(late)?)?;
    complete(conn.read_answer(asleep)?)?;
    drained(&mut server).map(drop)
}
