//! Peers that connect around the moment when draining begins.

use std::io::Result;

use rustix::process::Signal;

use crate::{
    example::{drained, each, last_answer, terminate, until_refused},
    support::{client::Conn, process::Server},
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

/// Z3: in lame duck, peers that were connected before are told to leave, and those that have
/// connected since only when draining begins.
#[test]
fn peers_that_connect_in_lame_duck_are_told_when_draining_begins() {
    each(&[("LAME_DUCK_MS", "1000")], |server| {
        let mut before = Conn::open(server.addr())?;
        before.get("/")?;
        assert!(!before.read_response()?.head.closes());
        server.signal(Signal::TERM)?;
        let unready = |server: &Server| -> Result<bool> {
            let mut prober = Conn::open(server.addr())?;
            prober.get("/readyz")?;
            Ok(prober.read_response()?.head.status == 503)
        };
        while !unready(server)? {}
        let mut since = Conn::open(server.addr())?;
        since.get("/")?;
        assert!(!since.read_response()?.head.closes());
        before.get("/")?;
        last_answer(&mut before)?;
        until_refused(server.addr())?;
        since.get("/")?;
        last_answer(&mut since)?;
        drained(server)?;
        Ok(())
    });
}
