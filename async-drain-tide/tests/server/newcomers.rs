//! Peers that connect around the moment when draining begins.

use std::io::Result;

use rustix::process::Signal;

use crate::{
    example::{drained, each, last_answer, terminate, until_refused},
    support::client::Conn,
};

/// Z1: new connects are refused while there is still work in flight.
#[test]
fn are_refused_while_a_request_is_in_flight() {
    each(&[("KEEP_ALIVE_GRACE_MS", "0")], |server| {
        let mut conn = Conn::open(server.addr())?;
        conn.get("/stream/3000/1")?;
        conn.read_head()?;
        terminate(server)?;
        until_refused(server.addr())?;
        assert!(conn.read_body()?.ends_with(b"chunk 2999\n"));
        drained(server)?;
        Ok(())
    });
}

/// Z1: those whom the kernel has queued are served.
#[test]
fn are_served_if_they_were_queued() {
    each(&[], |server| {
        server.stop()?;
        let mut queued = (0..50)
            .map(|_| {
                let mut conn = Conn::open(server.addr())?;
                conn.get("/sleep/10")?;
                Ok(conn)
            })
            .collect::<Result<Vec<_>>>()?;
        server.signal(Signal::TERM)?;
        server.cont()?;
        for conn in &mut queued {
            last_answer(conn)?;
        }
        drained(server)?;
        Ok(())
    });
}

/// Z3: in lame duck they are served, and told to leave.
#[test]
fn are_told_to_leave_in_lame_duck() {
    each(&[("LAME_DUCK_MS", "1000")], |server| {
        server.signal(Signal::TERM)?;
        let status = loop {
            let mut conn = Conn::open(server.addr())?;
            conn.get("/readyz")?;
            let head = conn.read_response()?.head;
            if head.closes() {
                break head.status;
            }
        };
        assert_eq!(status, 503);
        let mut conn = Conn::open(server.addr())?;
        conn.get("/")?;
        last_answer(&mut conn)?;
        drained(server)?;
        Ok(())
    });
}
