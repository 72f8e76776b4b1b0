//! A blocking HTTP/1.1 client that sends exactly the bytes it is given, and shows how a connection
//! ended.

use crate::response::{Decoder, Event, Head};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a read or a write may block before the test is told what it was waiting for.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A response with its whole body.
#[derive(Debug)]
pub struct Response {
    pub head: Head,
    pub body: Vec<u8>,
}

/// One connection to the server under test.
#[derive(Debug)]
pub struct Conn {
    stream: TcpStream,
    decoder: Decoder,
}

impl Conn {
    /// Connects to a server.
    pub fn open(addr: SocketAddr) -> Result<Self> {
        Ok(Self {
            stream: connect(addr)?,
            decoder: Decoder::new(),
        })
    }

    /// Writes these bytes, which need not be a whole request.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream
            .write_all(bytes)
            .map_err(|error| during("writing", &error))
    }

    /// Writes these bytes, and returns once the server has read them.
    pub fn send_until_read(&mut self, bytes: &[u8]) -> Result<()> {
        self.send(bytes)?;
        let (own, server) = (self.stream.local_addr()?, self.stream.peer_addr()?);
        let deadline = Instant::now() + TIMEOUT;
        // The kernel has no event for it.
        while queued(own, server)?.0 > 0 || queued(server, own)?.1 > 0 {
            if Instant::now() > deadline {
                return Err(Error::new(ErrorKind::TimedOut, "the server does not read"));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Sends a GET request, and does not wait for the answer.
    pub fn get(&mut self, path: &str) -> Result<()> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())
    }

    /// Ends the sending half, as a client does that sends no more requests.
    pub fn finish_sending(&mut self) -> Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Reads the head of the next response.
    pub fn read_head(&mut self) -> Result<Head> {
        match self.event("reading a head")? {
            Event::Head(head) => Ok(head),
            other => Err(Error::other(format!(
                "expected a head, but the last response goes on: {other:?}"
            ))),
        }
    }

    /// Reads some more of the body as soon as it comes; `None` at its end.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        match self.event("reading a body")? {
            Event::Data(bytes) => Ok(Some(bytes)),
            Event::End => Ok(None),
            Event::Head(_) => Err(Error::other("expected a body, but the response has ended")),
        }
    }

    /// Reads the rest of the body of the response whose head was read last.
    pub fn read_body(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(bytes) = self.next_chunk()? {
            body.extend(bytes);
        }
        Ok(body)
    }

    /// Reads a whole response.
    pub fn read_response(&mut self) -> Result<Response> {
        Ok(Response {
            head: self.read_head()?,
            body: self.read_body()?,
        })
    }

    /// Returns whether the server ends the connection within this time. Bytes that come instead are
    /// kept for the next read; a reset is an error, for no promise of the server allows it.
    pub fn is_eof(&mut self, within: Duration) -> Result<bool> {
        self.stream.set_read_timeout(Some(within))?;
        let ended = match self.read_some() {
            Ok(size) => Ok(size == 0),
            Err(error) if timed_out(&error) => Ok(false),
            Err(error) => Err(during("waiting for the end of the connection", &error)),
        };
        self.stream.set_read_timeout(Some(TIMEOUT))?;
        ended
    }

    /// Returns the socket, for tests that leave HTTP behind or want its options.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    fn event(&mut self, doing: &str) -> Result<Event> {
        loop {
            if let Some(event) = self.decoder.next_event()? {
                return Ok(event);
            }
            if self.read_some().map_err(|error| during(doing, &error))? == 0 {
                return self.decoder.finish();
            }
        }
    }

    fn read_some(&mut self) -> Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let size = self.stream.read(&mut buffer)?;
        self.decoder.fill(&buffer[..size]);
        Ok(size)
    }
}

/// Returns how many bytes the socket between these addresses of IPv4 has to send, and how many its
/// process has not read.
fn queued(local: SocketAddr, remote: SocketAddr) -> Result<(usize, usize)> {
    let hex = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => {
            let ip = u32::from_ne_bytes(addr.ip().octets());
            format!("{ip:08X}:{:04X}", addr.port())
        }
        SocketAddr::V6(_) => unimplemented!("tests use IPv4"),
    };
    let (local, remote) = (hex(local), hex(remote));
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    for line in table.lines() {
        let mut words = line.split_whitespace().skip(1);
        if words.next() == Some(&local) && words.next() == Some(&remote) {
            let queues = words.nth(1).and_then(|queues| queues.split_once(':'));
            let bytes = |hex| usize::from_str_radix(hex, 16).map_err(Error::other);
            let (to_send, unread) = queues.ok_or_else(|| Error::other("no queues"))?;
            return Ok((bytes(to_send)?, bytes(unread)?));
        }
    }
    Err(Error::other("the connection has ended"))
}

/// Connects, so that no call blocks for long.
pub(crate) fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&addr, TIMEOUT).map_err(|error| during("connecting", &error))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Returns whether an error tells that a socket's time limit has passed: either kind may, depending
/// on the platform.
fn timed_out(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Adds what the client was doing, since "resource temporarily unavailable" alone explains no
/// failed test.
pub fn during(doing: &str, error: &Error) -> Error {
    if timed_out(error) {
        return Error::new(ErrorKind::TimedOut, format!("timed out {doing}"));
    }
    Error::new(error.kind(), format!("{doing}: {error}"))
}
