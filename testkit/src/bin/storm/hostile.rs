//! Peers that misbehave, and the handlers that they call.

use crate::plan::{Subject, millis, one_in};
use crate::scene::Scene;
use fastrand::Rng;
use futures_lite::future;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};
use socket2::SockRef;
use std::io::Result;
use std::net::TcpStream;
use std::time::Duration;
use testkit::frames::Session;
use testkit::meter::gate::Hold;

/// A way to use a server badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hostile {
    /// Resets in the middle of its head.
    ResetInHead,
    /// Resets while its request is worked on.
    ResetInWait,
    /// Resets in the middle of its answer.
    ResetInAnswer,
    /// Resets a connection of HTTP/2 with a request under way.
    Reset2,
    /// Closes without reading its answer.
    Vanish,
    /// Closes in the middle of its head.
    VanishInHead,
    /// Ends its sending in the middle of its head, and waits.
    HalfCloseInHead,
    /// Sends bytes of no protocol.
    Garbage,
    /// Sends nothing.
    Silent,
    /// Speaks HTTP/2, and reads nothing.
    Deaf2,
    /// Calls a handler that panics.
    Panic,
    Panic2,
    // From here on: peers that hold the server until their work is cut.
    /// Sends its head byte by byte, for ever.
    Trickle,
    /// Asks for more than fits, and never reads.
    NeverRead,
    /// Sends half of an upload.
    HalfUpload,
    /// Calls a handler that takes longer than any grace.
    Sleep,
    /// Calls a handler that blocks its thread for longer.
    Block,
}

const FLEETING: [Hostile; 12] = [
    Hostile::ResetInHead,
    Hostile::ResetInWait,
    Hostile::ResetInAnswer,
    Hostile::Reset2,
    Hostile::Vanish,
    Hostile::VanishInHead,
    Hostile::HalfCloseInHead,
    Hostile::Garbage,
    Hostile::Silent,
    Hostile::Deaf2,
    Hostile::Panic,
    Hostile::Panic2,
];
const STUCK: [Hostile; 5] = [
    Hostile::Trickle,
    Hostile::NeverRead,
    Hostile::HalfUpload,
    Hostile::Sleep,
    Hostile::Block,
];

/// The label of a straggler that only a hostile peer can have left.
pub(crate) const STUCK_LABELS: [&str; 5] = [
    "GET /bytes/300000000",
    "POST /echo",
    "GET /sleep/60000",
    "GET /block/60000",
    // Half a head is named after its peer's address.
    "127.0.0.1:",
];

impl Hostile {
    pub(crate) fn draw(rng: &mut Rng, subject: Subject, tls: bool, stuck: bool) -> Self {
        loop {
            let all = if stuck && !tls && one_in(rng, 3) {
                &STUCK[..]
            } else {
                &FLEETING[..]
            };
            let drawn = all[rng.usize(..all.len())];
            // A panic ends a local executor's only thread: that is the executor's choice.
            if subject == Subject::Hyper || !drawn.panics() {
                return drawn;
            }
        }
    }

    /// Returns whether its work lasts until it is cut.
    pub(crate) fn is_stuck(self) -> bool {
        STUCK.contains(&self)
    }

    pub(crate) fn panics(self) -> bool {
        matches!(self, Self::Panic | Self::Panic2)
    }

    /// Misbehaves. Peers that hold the server connect before the signal, and drop their hold then;
    /// the others connect before or after it. A peer that connects too late has nothing to do, and
    /// a failing connection is expected.
    pub(crate) async fn play(self, scene: &Scene<'_>, mut rng: Rng, hold: Hold) {
        let _ = if self.is_stuck() {
            self.hold_on(scene, hold).await
        } else {
            drop(hold);
            if rng.bool() {
                scene.signalled().await;
            }
            Timer::after(millis(&mut rng, 0..200)).await;
            self.act(scene, &mut rng).await
        };
    }

    async fn hold_on(self, scene: &Scene<'_>, hold: Hold) -> Result<()> {
        let mut socket = Async::<TcpStream>::connect(scene.addr()).await?;
        let request = match self {
            Self::NeverRead => get("/bytes/300000000"),
            Self::Sleep => get("/sleep/60000"),
            Self::Block => get("/block/60000"),
            Self::HalfUpload => {
                let head = "POST /echo HTTP/1.1\r\nhost: storm\r\ncontent-length: 10\r\n\r\nhalf";
                head.as_bytes().to_vec()
            }
            _ => b"GET / HTTP/1.1\r\nx: ".to_vec(),
        };
        socket.write_all(&request).await?;
        drop(hold);
        match self {
            Self::Trickle => loop {
                socket.write_all(b"x").await?;
                Timer::after(Duration::from_millis(20)).await;
            },
            Self::NeverRead => future::pending().await,
            _ => end(&mut socket).await,
        }
    }

    async fn act(self, scene: &Scene<'_>, rng: &mut Rng) -> Result<()> {
        let mut socket = Async::<TcpStream>::connect(scene.addr()).await?;
        let pause = millis(rng, 0..60);
        match self {
            Self::ResetInHead => {
                socket.write_all(b"GET /sle").await?;
                reset(socket, pause).await
            }
            Self::ResetInWait => {
                socket.write_all(&get("/sleep/200")).await?;
                reset(socket, pause).await
            }
            Self::ResetInAnswer => {
                socket.write_all(&get("/bytes/5000000")).await?;
                socket.read_exact(&mut [0; 1000]).await?;
                reset(socket, pause).await
            }
            Self::Reset2 => {
                socket.write_all(&get2("/sleep/200")).await?;
                reset(socket, pause).await
            }
            Self::Vanish => {
                socket.write_all(&get("/sleep/50")).await?;
                Timer::after(pause).await;
                Ok(())
            }
            Self::VanishInHead => {
                socket.write_all(b"GET /sle").await?;
                Timer::after(pause).await;
                Ok(())
            }
            Self::HalfCloseInHead => {
                socket.write_all(b"GET /sle").await?;
                socket.get_ref().shutdown(std::net::Shutdown::Write)?;
                end(&mut socket).await
            }
            Self::Garbage => {
                let bytes: Vec<u8> = (0..rng.usize(1..500)).map(|_| rng.u8(..)).collect();
                socket.write_all(&bytes).await?;
                Timer::after(pause).await;
                Ok(())
            }
            Self::Silent => end(&mut socket).await,
            Self::Deaf2 => {
                socket.write_all(&get2("/")).await?;
                future::pending().await
            }
            Self::Panic => {
                socket.write_all(&get("/panic")).await?;
                end(&mut socket).await
            }
            Self::Panic2 => {
                socket.write_all(&get2("/panic")).await?;
                Timer::after(pause).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: storm\r\n\r\n").into_bytes()
}

fn get2(path: &str) -> Vec<u8> {
    let mut session = Session::new();
    session.request("GET", path, true);
    session.take_output()
}

async fn reset(socket: Async<TcpStream>, pause: Duration) -> Result<()> {
    Timer::after(pause).await;
    SockRef::from(socket.get_ref()).set_linger(Some(Duration::ZERO))
}

/// Reads until the server ends the connection.
async fn end(socket: &mut Async<TcpStream>) -> Result<()> {
    let mut buffer = [0; 4096];
    while socket.read(&mut buffer).await? > 0 {}
    Ok(())
}
