//! The client's side of a tunnel, which CONNECT has opened.

use crate::frames::Frame;
use crate::meter::http1::Http1;
use crate::meter::http2::Http2;
use crate::meter::peer::Peer;
use crate::meter::tally::{Loss, Outcome};
use crate::meter::transport::Stream;
use smol::Timer;
use std::io::{ErrorKind, Result};
use std::time::{Duration, Instant};

/// Where the tunnel leads, as both protocols write it.
const TARGET: &str = "tunnel:80";
const MESSAGE: &[u8] = b"message";
const BYE: &[u8] = b"bye\n";

/// Bytes in both directions.
#[allow(async_fn_in_trait, reason = "its clients run on one thread")]
pub trait Tunnel: Sized {
    /// Asks for a tunnel on a fresh connection. The error is the status that refused it.
    async fn open(stream: Stream) -> Result<std::result::Result<Self, u16>>;
    async fn send(&mut self, bytes: &[u8]) -> Result<()>;
    /// Sends no more.
    async fn finish(&mut self) -> Result<()>;
    /// Reads a message; an empty one is the end.
    async fn receive(&mut self) -> Result<Vec<u8>>;
}

/// Sends messages and reads them back until the tunnel says `bye` in place of one, or for so long,
/// and then reads it to its end.
///
/// It is lost if it ends otherwise, and safe to ask for elsewhere if it was refused with 503.
/// `echoed` is called after each message.
pub async fn talk<T: Tunnel>(
    stream: Stream,
    pause: Duration,
    time: Duration,
    echoed: impl FnMut(),
) -> Outcome {
    let mut received = 0;
    let done = |status| Outcome::Answered {
        status,
        body: 0,
        leaving: true,
    };
    match T::open(stream).await {
        Ok(Ok(mut tunnel)) => {
            match exchange(&mut tunnel, pause, time, &mut received, echoed).await {
                Ok(()) => done(200),
                Err(error) => Outcome::Lost(Loss::new(&error, received)),
            }
        }
        Ok(Err(503)) => Outcome::Retryable,
        Ok(Err(status)) => done(status),
        Err(error) => Outcome::Lost(Loss::new(&error, 0)),
    }
}

async fn exchange(
    tunnel: &mut impl Tunnel,
    pause: Duration,
    time: Duration,
    received: &mut u64,
    mut echoed: impl FnMut(),
) -> Result<()> {
    let began = Instant::now();
    let mut message = Vec::new();
    while began.elapsed() < time {
        tunnel.send(MESSAGE).await?;
        while message.len() < MESSAGE.len() {
            let bytes = tunnel.receive().await?;
            if bytes.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            *received += bytes.len() as u64;
            message.extend(bytes);
            if message.starts_with(BYE) || message.ends_with(BYE) {
                while !tunnel.receive().await?.is_empty() {}
                return Ok(());
            }
        }
        if message != MESSAGE {
            return Err(ErrorKind::InvalidData.into());
        }
        message.clear();
        echoed();
        Timer::after(pause).await;
    }
    tunnel.finish().await?;
    while !tunnel.receive().await?.is_empty() {}
    Ok(())
}

/// A tunnel over HTTP/1, which has the whole connection.
pub struct Tunnel1 {
    conn: Http1,
    ended: bool,
}

impl Tunnel for Tunnel1 {
    async fn open(stream: Stream) -> Result<std::result::Result<Self, u16>> {
        let mut conn = Http1::new(stream);
        let connect = format!("CONNECT {TARGET} HTTP/1.1\r\nhost: {TARGET}\r\n\r\n");
        conn.requests.write(connect.as_bytes()).await?;
        match conn.answers.head().await {
            Ok(head) if head.status == 200 => Ok(Ok(Self { conn, ended: false })),
            Ok(head) => Ok(Err(head.status)),
            Err(loss) => Err(std::io::Error::other(loss.to_string())),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.conn.requests.write(bytes).await
    }

    async fn finish(&mut self) -> Result<()> {
        // It closes the connection when it is dropped, as most do.
        self.ended = true;
        Ok(())
    }

    async fn receive(&mut self) -> Result<Vec<u8>> {
        if self.ended {
            return Ok(Vec::new());
        }
        self.conn.answers.some().await
    }
}

/// A tunnel in a stream of HTTP/2.
pub struct Tunnel2 {
    conn: Http2,
    stream: u32,
    ended: bool,
}

impl Tunnel for Tunnel2 {
    async fn open(stream: Stream) -> Result<std::result::Result<Self, u16>> {
        let mut conn = Http2::new(stream);
        let stream = conn.session().connect(TARGET);
        conn.flush().await?;
        let status = loop {
            match conn.frame().await? {
                Frame::Headers { status, .. } => break status.unwrap_or_default(),
                // As safe to ask for elsewhere as if it had been refused in words.
                Frame::GoAway { last_stream, .. } if last_stream < stream => break 503,
                Frame::Reset { .. } => return Err(ErrorKind::ConnectionReset.into()),
                _ => {}
            }
        };
        if status != 200 {
            return Ok(Err(status));
        }
        Ok(Ok(Self {
            conn,
            stream,
            ended: false,
        }))
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.conn.session().data(self.stream, bytes, false);
        self.conn.flush().await
    }

    async fn finish(&mut self) -> Result<()> {
        self.conn.session().data(self.stream, &[], true);
        self.conn.flush().await
    }

    async fn receive(&mut self) -> Result<Vec<u8>> {
        if self.ended {
            return Ok(Vec::new());
        }
        loop {
            match self.conn.frame().await? {
                Frame::Data { bytes, end, .. } => {
                    self.ended = end;
                    if end || !bytes.is_empty() {
                        return Ok(bytes);
                    }
                }
                Frame::Reset { .. } => return Err(ErrorKind::ConnectionReset.into()),
                _ => {}
            }
        }
    }
}
