//! Peers that connect around the moment when draining begins.

use std::io::Result;

use rustix::process::Signal;

use crate::{
    example::{drained, each, last_answer, terminate, until_refused},
    support::client::Conn,
};

/// Z1: new peers are refused while a request is in flight.
#[test]
fn new_peers_are_refused_while_a_request_is_in_flight() {
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

/// Z1: connections that the kernel has queued are served.
#[test]
fn queued_connections_are_served() {
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

/// Z3: peers that connect in lame duck are served, and told to leave.
#[test]
fn peers_that_connect_in_lame_duck_are_told_to_leave() {
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
