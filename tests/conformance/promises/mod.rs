//! The promises, with a probe for each: a server, a peer, and the outcome that is expected.

mod body;
mod end;
mod http2;
mod idle;
mod limits;
mod listener;
mod request;

use std::{
    fmt, io,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use testkit::{
    client::Conn,
    process::{Exit, Server},
};

use crate::subject::Subject;

pub(crate) struct Promise {
    /// As `docs/promises.md` has it.
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) probe: fn(&Subject) -> Probed,
}

pub(crate) type Probed = Result<(), Failure>;

/// Why a promise was not kept.
#[derive(Debug)]
pub(crate) enum Failure {
    NotApplicable(String),
    Broken(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

const fn promise(id: &'static str, what: &'static str, probe: fn(&Subject) -> Probed) -> Promise {
    Promise { id, what, probe }
}

pub(crate) const PROMISES: &[Promise] = &[
    promise(
        "Z1",
        "connections in the kernel's queue are answered",
        listener::queued,
    ),
    promise(
        "Z1",
        "new connections are refused while draining",
        listener::refused,
    ),
    promise(
        "Z2",
        "an idle connection gets one more request",
        idle::one_more,
    ),
    promise(
        "Z2",
        "an idle connection is closed within its grace",
        idle::closed,
    ),
    promise(
        "Z3",
        "lame duck: accepts, is unready, answers close",
        request::lame_duck,
    ),
    promise(
        "Z3",
        "lame duck: ready, where Kubernetes asks",
        request::ready_in_lame_duck,
    ),
    promise(
        "Z3",
        "an answer in flight says close, and the connection ends",
        request::in_flight,
    ),
    promise(
        "Z4",
        "a silent connection may send its first request",
        idle::first_request,
    ),
    promise(
        "Z4",
        "a silent connection does not hold the process",
        idle::silent,
    ),
    promise("Z4", "half a head may be finished", request::half_head),
    promise(
        "Z4",
        "half a head is bounded by the grace period",
        request::half_head_for_ever,
    ),
    promise("Z5", "a streamed answer is complete", body::streamed),
    promise("Z5", "a slow reader gets all of 20 MB", body::slow_reader),
    promise("Z5", "half an upload may be finished", body::upload),
    promise(
        "Z5",
        "a peer that has ended its sending is answered",
        request::half_closed,
    ),
    promise("Z6", "a WebSocket is closed with 1001", body::websocket),
    promise(
        "Z7",
        "server-sent events are told when draining begins",
        body::events,
    ),
    promise(
        "Z8",
        "an answer survives an upload that is not read",
        body::rejected_upload,
    ),
    promise(
        "Z8",
        "a peer that keeps its socket open does not hold the exit",
        end::kept_open,
    ),
    promise(
        "Z10",
        "running out of file descriptors does not end it",
        listener::descriptors,
    ),
    promise(
        "Z11",
        "a handler may begin the drain",
        end::begun_by_handler,
    ),
    promise(
        "Z11",
        "a handler that panics breaks nothing else",
        end::panicking,
    ),
    promise(
        "Z12",
        "work that outlasts the grace period is cut and named",
        end::cut,
    ),
    promise(
        "Z14",
        "an idle limit is advertised, and kept with care",
        limits::idle,
    ),
    promise(
        "Z14",
        "an aged connection ends with its next answer",
        limits::age,
    ),
    promise(
        "Z14",
        "server-sent events are told when their connection's age has come",
        limits::told,
    ),
    promise("L4", "a second signal moves on at once", end::second_signal),
    promise(
        "Z3",
        "HTTP/2: GOAWAY in two steps, streams finish",
        http2::goaway,
    ),
    promise(
        "Z3",
        "HTTP/2: a stream opened before the last GOAWAY is served",
        http2::late_stream,
    ),
];

/// How long anything may take that should not have to wait.
const TIMEOUT: Duration = Duration::from_secs(10);

fn check(holds: bool, otherwise: impl fmt::Display) -> Probed {
    if holds {
        Ok(())
    } else {
        Err(Failure::Broken(otherwise.to_string()))
    }
}

/// Sends a request and reads its answer, which must be a 200.
fn hello(addr: SocketAddr) -> Result<Conn, Failure> {
    let mut conn = Conn::open(addr)?;
    conn.get("/")?;
    answered(&mut conn)?;
    Ok(conn)
}

/// Reads an answer, which must be a 200, and returns whether it says close.
fn answered(conn: &mut Conn) -> Result<bool, Failure> {
    let response = conn.read_response()?;
    check(response.head.status == 200, format!("{:?}", response.head))?;
    Ok(response.head.closes())
}

/// Gives the server time to read what has been sent: a later peer has had its answer.
fn settle(server: &Server) -> Probed {
    drop(hello(server.addr())?);
    thread::sleep(Duration::from_millis(20));
    Ok(())
}

/// Asks the server to stop, and waits until it has begun to drain.
fn begin(server: &Server) -> Probed {
    server.signal(Signal::TERM)?;
    until_refused(server.addr())
}

fn until_refused(addr: SocketAddr) -> Probed {
    let limit = Instant::now() + TIMEOUT;
    while Instant::now() < limit {
        match TcpStream::connect(addr) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(()),
            // The connection came before the listener was retired, or its request was dropped by
            // the filter.
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
    check(false, "new connections are still accepted")
}

/// Waits until the server ends by itself, with nothing lost.
fn drained(server: &mut Server) -> Result<Exit, Failure> {
    let exit = server.wait(TIMEOUT)?;
    check(
        exit.status.success(),
        format!("{}: {}", exit.status, exit.stderr),
    )?;
    check(exit.report.starts_with("drained: "), &exit.report)?;
    Ok(exit)
}
