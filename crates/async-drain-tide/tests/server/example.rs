//! Starts the examples, and recognises when draining has begun and how it ended.

use std::{
    io::{ErrorKind, Result},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use rustix::process::Signal;

use crate::support::{
    client::{Conn, Response},
    example,
    process::{Exit, Server},
};

/// The longest that an event may take that waits for nothing else.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(5);

/// An upload to `/echo`.
pub(crate) const UPLOAD: &[u8] =
    b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello";

/// The same upload in chunks.
pub(crate) const CHUNKED: &[u8] =
    b"POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
      2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";

/// Runs `scene` with each of the servers.
pub(crate) fn each(env: &[(&str, &str)], scene: impl Fn(&mut Server) -> Result<()>) {
    for name in ["tide", "async_h1"] {
        let played = Server::start(example(name), env).and_then(|mut server| scene(&mut server));
        played.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Sends SIGTERM, and returns when draining has begun: when another connection's event stream says
/// so.
pub(crate) fn terminate(server: &Server) -> Result<()> {
    let mut witness = Conn::open(server.addr())?;
    witness.get("/events/20")?;
    witness.read_head()?;
    server.signal(Signal::TERM)?;
    while let Some(event) = witness.next_chunk()? {
        if String::from_utf8_lossy(&event).contains("leaving") {
            return Ok(());
        }
    }
    Err(std::io::Error::other("the events ended without a farewell"))
}

/// Returns once the listener is closed. Connections that it still accepts are closed at once.
pub(crate) fn until_refused(addr: SocketAddr) -> Result<()> {
    loop {
        match TcpStream::connect_timeout(&addr, AT_ONCE) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Reads an answer that says `close`, and checks that the connection ends.
pub(crate) fn last_answer(conn: &mut Conn) -> Result<Response> {
    let response = conn.read_response()?;
    assert_eq!(response.head.status, 200);
    assert!(response.head.closes(), "{:?}", response.head);
    assert!(conn.is_eof(AT_ONCE)?);
    Ok(response)
}

/// Waits for the server to end, and checks that nothing was abandoned.
pub(crate) fn drained(server: &mut Server) -> Result<Exit> {
    let exit = server.wait(2 * AT_ONCE)?;
    assert_eq!(exit.status.code(), Some(0), "{}", exit.stderr);
    assert!(exit.report.starts_with("drained: "), "{}", exit.stderr);
    Ok(exit)
}
