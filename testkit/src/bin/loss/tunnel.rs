//! Tunnels, which are used all through lame duck, are told when draining begins, and end then.

use crate::early::Protocol;
use crate::round::Round;
use smol::Timer;
use std::io::{ErrorKind, Result};
use std::time::Duration;
use testkit::frames::Frame;
use testkit::meter::gate::Hold;
use testkit::meter::http1::{Http1, head};
use testkit::meter::http2::Http2;
use testkit::meter::peer::Peer;
use testkit::meter::tally::{Expected, Loss, Outcome, Tally};
use testkit::meter::transport::Stream;

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(200);
const MESSAGE: &[u8] = b"message";
const BYE: &[u8] = b"bye\n";

/// Sends the signal when every tunnel has echoed once.
pub(crate) async fn run(round: &Round<'_>, protocol: Protocol) -> Result<Tally> {
    round
        .play(|hold| client(round, protocol, hold), async {
            round.signal()
        })
        .await
}

async fn client(round: &Round<'_>, protocol: Protocol, hold: Hold) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(stream) = round.connect(&mut tally).await? else {
        return Ok(tally);
    };
    let mut received = 0;
    let used = match protocol {
        Protocol::Http1 => {
            let mut tunnel = Tunnel1::open(stream).await?;
            talk(&mut tunnel, &mut received, hold).await
        }
        Protocol::Http2 => {
            let mut tunnel = Tunnel2::open(stream).await?;
            talk(&mut tunnel, &mut received, hold).await
        }
    };
    let outcome = match used {
        Ok(()) => Outcome::Answered {
            status: 200,
            body: 0,
            leaving: true,
        },
        Err(error) => Outcome::Lost(Loss::new(&error, received)),
    };
    round.record(&mut tally, outcome, Expected::OK)?;
    Ok(tally)
}

/// Bytes in both directions.
trait Tunnel {
    async fn send(&mut self, bytes: &[u8]) -> Result<()>;
    /// Nothing is its end.
    async fn receive(&mut self) -> Result<Vec<u8>>;
}

/// Sends messages and reads them back until the tunnel says `bye` in place of one, and then to its
/// end.
async fn talk(tunnel: &mut impl Tunnel, received: &mut u64, hold: Hold) -> Result<()> {
    let mut hold = Some(hold);
    let mut echoed = Vec::new();
    loop {
        tunnel.send(MESSAGE).await?;
        while echoed.len() < MESSAGE.len() {
            let bytes = tunnel.receive().await?;
            if bytes.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            *received += bytes.len() as u64;
            echoed.extend(bytes);
            if echoed.ends_with(BYE) || echoed.starts_with(BYE) {
                while !tunnel.receive().await?.is_empty() {}
                return Ok(());
            }
        }
        if echoed != MESSAGE {
            return Err(ErrorKind::InvalidData.into());
        }
        echoed.clear();
        hold.take();
        Timer::after(PAUSE).await;
    }
}

struct Tunnel1(Http1);

impl Tunnel1 {
    async fn open(stream: Stream) -> Result<Self> {
        let mut conn = Http1::new(stream);
        let connect = head("CONNECT", "tunnel:80", "");
        conn.requests.write(&connect).await?;
        match conn.answers.head().await {
            Ok(head) if head.status == 200 => Ok(Self(conn)),
            Ok(head) => Err(refused(head.status)),
            Err(loss) => Err(std::io::Error::other(loss.to_string())),
        }
    }
}

impl Tunnel for Tunnel1 {
    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.requests.write(bytes).await
    }

    async fn receive(&mut self) -> Result<Vec<u8>> {
        self.0.answers.some().await
    }
}

struct Tunnel2 {
    conn: Http2,
    stream: u32,
    ended: bool,
}

impl Tunnel2 {
    async fn open(stream: Stream) -> Result<Self> {
        let mut conn = Http2::new(stream);
        let stream = conn.session().connect("tunnel:80");
        conn.flush().await?;
        loop {
            match conn.frame().await? {
                Frame::Headers {
                    status: Some(200), ..
                } => break,
                Frame::Headers { status, .. } => return Err(refused(status.unwrap_or_default())),
                _ => {}
            }
        }
        Ok(Self {
            conn,
            stream,
            ended: false,
        })
    }
}

impl Tunnel for Tunnel2 {
    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.conn.session().data(self.stream, bytes, false);
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

fn refused(status: u16) -> std::io::Error {
    std::io::Error::other(format!("a tunnel was refused with status {status}"))
}
