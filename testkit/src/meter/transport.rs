//! Connections, in the clear or over TLS, with a limit on every wait.

use futures_lite::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split,
};
use futures_lite::{FutureExt, future};
use futures_rustls::TlsConnector;
use futures_rustls::rustls::pki_types::ServerName;
use smol::{Async, Timer};
use std::future::Future;
use std::io::{ErrorKind, Result};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection may be silent before its request counts as lost.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take to end a TLS connection after it said that it would.
const FAREWELL: Duration = Duration::from_secs(2);

/// The most that is read at once.
const PIECE: usize = 64 * 1024;

/// What the clients connect to.
#[derive(Clone)]
pub struct Target {
    pub addr: SocketAddr,
    pub tls: Option<TlsConnector>,
}

impl Target {
    /// Connects. `None` is a refusal: the server took no request, and the client may safely go
    /// elsewhere.
    ///
    /// That includes a connection cut before anything could be written, and a SYN dropped by a
    /// listener that retires.
    pub async fn connect(&self) -> Result<Option<Stream>> {
        // Boxed, as a TLS session is large and this future a part of many.
        match Box::pin(self.try_connect()).await {
            Ok(stream) => Ok(stream),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::TimedOut => Ok(None),
                _ => Err(error),
            },
        }
    }

    async fn try_connect(&self) -> Result<Option<Stream>> {
        let socket = within(TIMEOUT, Async::<TcpStream>::connect(self.addr)).await?;
        // A port that no one listens on may be given to the client itself, which then
        // talks to itself.
        if socket.get_ref().local_addr()? == self.addr {
            return Ok(None);
        }
        socket.get_ref().set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Some(Stream::new(socket, false)));
        };
        let name = ServerName::from(self.addr.ip());
        let socket = within(TIMEOUT, tls.connect(name, socket)).await?;
        Ok(Some(Stream::new(socket, true)))
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// An established connection, in two halves, as an upload is written while its answer is read.
pub struct Stream {
    pub reader: Reader,
    pub writer: Writer,
}

impl Stream {
    fn new(io: impl Duplex + 'static, tls: bool) -> Self {
        let (reader, writer) = split(Box::new(io) as Box<dyn Duplex>);
        Self {
            reader: Reader {
                half: reader,
                buffer: vec![0; PIECE],
                tls,
                truncated: false,
            },
            writer: Writer(writer),
        }
    }
}

/// What the server sends.
pub struct Reader {
    half: ReadHalf<Box<dyn Duplex>>,
    buffer: Vec<u8>,
    tls: bool,
    truncated: bool,
}

impl Reader {
    /// Reads what comes next; nothing is the end.
    pub async fn read(&mut self) -> Result<&[u8]> {
        let result = within(TIMEOUT, self.half.read(&mut self.buffer)).await;
        self.note(result)
    }

    /// Reads what is there already; `None` is an open connection with nothing to read.
    pub async fn look(&mut self) -> Option<Result<&[u8]>> {
        let result = future::poll_once(self.half.read(&mut self.buffer)).await?;
        Some(self.note(result))
    }

    /// Awaits the end of a connection that the server is about to close, and says if a
    /// `close_notify` was missing. Whatever comes before the end is handed over.
    ///
    /// In the clear there is nothing to learn, and the client leaves first, as most do.
    pub async fn leave(mut self, mut take: impl AsyncFnMut(&[u8])) -> bool {
        if self.tls && !self.truncated {
            let ending = async {
                while let Ok(bytes @ [_, ..]) = self.read().await {
                    take(bytes).await;
                }
            };
            let limit = async {
                Timer::after(FAREWELL).await;
            };
            ending.or(limit).await;
        }
        self.truncated
    }

    fn note(&mut self, result: Result<usize>) -> Result<&[u8]> {
        let ended = |kind| matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset);
        self.truncated |= self.tls && result.as_ref().is_err_and(|error| ended(error.kind()));
        result.map(|size| &self.buffer[..size])
    }
}

/// What the client sends.
pub struct Writer(WriteHalf<Box<dyn Duplex>>);

impl Writer {
    /// Writes everything.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        within(TIMEOUT, async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        })
        .await
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = async {
        Timer::after(limit).await;
        Err(ErrorKind::TimedOut.into())
    };
    work.or(late).await
}
