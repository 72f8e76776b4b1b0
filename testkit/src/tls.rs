//! A blocking HTTP/1.1 client over TLS, for which an end of the connection without `close_notify`
//! is an error.

use crate::client::TIMEOUT;
use crate::meter::tls::connector;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_rustls::client::TlsStream;
use futures_rustls::rustls::pki_types::ServerName;
use smol::{Async, Timer};
use std::future::Future;
use std::io::{ErrorKind, Result};
use std::net::{SocketAddr, TcpStream};

/// One connection to the server under test.
pub struct TlsConn(TlsStream<Async<TcpStream>>);

impl TlsConn {
    /// Connects, and completes the handshake.
    pub fn open(addr: SocketAddr) -> Result<Self> {
        Self::over(TcpStream::connect(addr)?)
    }

    /// Connects, and completes a handshake that asks for this protocol.
    pub fn open_for(protocol: &str, addr: SocketAddr) -> Result<Self> {
        Self::over_for(protocol, TcpStream::connect(addr)?)
    }

    /// Completes the handshake on this socket.
    pub fn over(socket: TcpStream) -> Result<Self> {
        Self::over_for("http/1.1", socket)
    }

    fn over_for(protocol: &str, socket: TcpStream) -> Result<Self> {
        let connector = connector(protocol).expect("a known version of TLS");
        let name = ServerName::try_from("localhost").expect("a valid name");
        let socket = Async::new(socket)?;
        patiently(connector.connect(name, socket)).map(Self)
    }

    /// Sends a GET request.
    pub fn get(&mut self, path: &str) -> Result<()> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())
    }

    /// Sends these bytes, which need not be a whole request.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        patiently(async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        })
    }

    /// Reads until what has come ends with `mark`.
    pub fn read_until(&mut self, mark: &str) -> Result<String> {
        let mut text = Vec::new();
        while !text.ends_with(mark.as_bytes()) {
            let mut buffer = [0; 4096];
            match patiently(self.0.read(&mut buffer))? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                size => text.extend_from_slice(&buffer[..size]),
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Reads to the end of the connection, which `close_notify` must announce.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        patiently(self.0.read_to_end(&mut bytes))?;
        Ok(bytes)
    }
}

fn patiently<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    smol::block_on(work.or(async {
        Timer::after(TIMEOUT).await;
        Err(ErrorKind::TimedOut.into())
    }))
}
