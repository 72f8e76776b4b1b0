//! Clients that follow the protocol, and must lose nothing.

use crate::plan::millis;
use crate::scene::Scene;
use fastrand::Rng;
use smol::Timer;
use std::io::Result;
use std::time::{Duration, Instant};
use testkit::meter::gate::Hold;
use testkit::meter::http1::{Http1, head};
use testkit::meter::http2::Http2;
use testkit::meter::http10::Http10;
use testkit::meter::offer::Offer;
use testkit::meter::peer::Peer;
use testkit::meter::slow2;
use testkit::meter::stray::Stray;
use testkit::meter::tally::{Expected, Loss, Outcome, Tally};
use testkit::meter::transport::Stream;
use testkit::meter::tunnel::{Tunnel1, Tunnel2, talk};

/// A way to use a server as intended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// HTTP/1, one request after the other on a connection.
    KeepAlive,
    /// The same with HTTP/2.
    KeepAlive2,
    /// The same with HTTP/1.0.
    KeepAlive10,
    /// The same with an empty line after each request.
    Stray,
    /// The same with an offer of HTTP/2 in each request, which the server doesn't take up.
    Offer,
    /// A connection for each request.
    OneShot,
    /// Uploads, and reads them back.
    Upload,
    /// Writes its heads in pieces.
    SlowHead,
    /// Takes its time to read.
    SlowReader,
    /// Takes its time to read what a handler gave away in one frame, over HTTP/2.
    SlowReader2,
    /// Uses a tunnel.
    Tunnel,
    /// The same over HTTP/2.
    Tunnel2,
    /// Connects, and sends nothing for a while.
    Silent,
}

const ALL: [Client; 13] = [
    Client::KeepAlive,
    Client::KeepAlive2,
    Client::KeepAlive10,
    Client::Stray,
    Client::Offer,
    Client::OneShot,
    Client::Upload,
    Client::SlowHead,
    Client::SlowReader,
    Client::SlowReader2,
    Client::Tunnel,
    Client::Tunnel2,
    Client::Silent,
];

/// The time between two requests.
const THINK: std::ops::Range<u64> = 0..40;
/// The time between the look at a connection and the request.
const DISTANCE: std::ops::Range<u64> = 0..20;

impl Client {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        // Half of them are of the usual kinds.
        let all = if rng.bool() { &ALL[..2] } else { &ALL[..] };
        all[rng.usize(..all.len())]
    }

    /// Sends requests until the server is gone, and drops its hold with the first answer.
    pub(crate) async fn play(self, scene: &Scene<'_>, mut rng: Rng, hold: Hold) -> Result<Tally> {
        let mut course = Course {
            scene,
            tally: Tally::default(),
            hold: Some(hold),
        };
        match self {
            Self::KeepAlive2 => course.closed_loop::<Http2>(self, &mut rng).await?,
            Self::KeepAlive => course.closed_loop::<Http1>(self, &mut rng).await?,
            Self::KeepAlive10 => course.closed_loop::<Http10>(self, &mut rng).await?,
            Self::Stray => course.closed_loop::<Stray>(self, &mut rng).await?,
            Self::Offer => course.closed_loop::<Offer>(self, &mut rng).await?,
            _ => course.single(self, &mut rng).await?,
        }
        Ok(course.tally)
    }

    fn speaks_http2(self) -> bool {
        matches!(self, Self::KeepAlive2 | Self::SlowReader2 | Self::Tunnel2)
    }

    /// Sends a request on a new connection; returns how it ended, and the expected answer.
    async fn ask(self, stream: Stream, rng: &mut Rng) -> (Outcome, Expected) {
        let pause = millis(rng, THINK);
        let time = millis(rng, 0..1500);
        match self {
            Self::Tunnel => {
                let outcome = talk::<Tunnel1>(stream, pause, time, || {}).await;
                return (outcome, Expected::OK);
            }
            Self::Tunnel2 => {
                let outcome = talk::<Tunnel2>(stream, pause, time, || {}).await;
                return (outcome, Expected::OK);
            }
            Self::SlowReader2 => {
                let length = rng.u64(100_000..1_500_000);
                let pause = Duration::from_millis(10);
                let outcome = slow2::read(stream, &format!("/full/{length}"), pause, || {}).await;
                return (outcome, body(length));
            }
            _ => {}
        }
        let mut conn = Http1::new(stream);
        match self {
            Self::Upload => {
                let length = rng.usize(1..40_000);
                let fields = format!("content-length: {length}\r\n");
                let whole = [head("POST", "/echo", &fields), vec![b'x'; length]].concat();
                (conn.ask(&whole).await, body(length as u64))
            }
            Self::SlowHead => {
                let whole = head("GET", "/", "");
                for piece in whole.chunks(whole.len().div_ceil(rng.usize(2..8))) {
                    Timer::after(millis(rng, 0..60)).await;
                    if let Err(error) = conn.requests.write(piece).await {
                        return (Outcome::Lost(Loss::new(&error, 0)), Expected::OK);
                    }
                }
                (conn.answers.next().await, Expected::OK)
            }
            Self::SlowReader => {
                let length = rng.u64(1_000_000..6_000_000);
                let path = format!("/bytes/{length}");
                if let Err(error) = conn.requests.write(&head("GET", &path, "")).await {
                    return (Outcome::Lost(Loss::new(&error, 0)), body(length));
                }
                let outcome = match conn.answers.head().await {
                    Ok(head) => conn.answers.rest(&head, Duration::from_millis(4)).await,
                    Err(loss) => Outcome::Lost(loss),
                };
                (outcome, body(length))
            }
            Self::Silent => {
                Timer::after(millis(rng, 0..600)).await;
                if !conn.look().await {
                    // It has seen the end before it wrote.
                    return (Outcome::Retryable, Expected::OK);
                }
                (conn.get("/").await, Expected::OK)
            }
            _ => {
                let (path, expected) = request(rng);
                (
                    conn.ask(&head("GET", &path, "connection: close\r\n")).await,
                    expected,
                )
            }
        }
    }
}

/// A client, and the results so far.
struct Course<'a> {
    scene: &'a Scene<'a>,
    tally: Tally,
    hold: Option<Hold>,
}

impl Course<'_> {
    async fn closed_loop<P: Peer>(&mut self, client: Client, rng: &mut Rng) -> Result<()> {
        while !self.scene.is_over() {
            let Some(stream) = self.connect(client.speaks_http2()).await? else {
                break;
            };
            let connected = Instant::now();
            let mut peer = P::new(stream);
            loop {
                Timer::after(millis(rng, THINK)).await;
                if !peer.look().await {
                    break;
                }
                // As in the loss meter, what a client sees is as old as the latency.
                Timer::after(millis(rng, DISTANCE)).await;
                let (path, expected) = request(rng);
                let outcome = peer.get(&path).await;
                self.record(client, connected, outcome, expected);
                if !matches!(outcome, Outcome::Answered { leaving: false, .. })
                    || self.scene.is_over()
                {
                    break;
                }
            }
            self.tally.truncations += u64::from(peer.leave().await);
        }
        Ok(())
    }

    async fn single(&mut self, client: Client, rng: &mut Rng) -> Result<()> {
        while !self.scene.is_over() {
            let Some(stream) = self.connect(client.speaks_http2()).await? else {
                break;
            };
            let connected = Instant::now();
            let (outcome, expected) = client.ask(stream, rng).await;
            self.record(client, connected, outcome, expected);
            Timer::after(millis(rng, THINK)).await;
        }
        Ok(())
    }

    async fn connect(&mut self, http2: bool) -> Result<Option<Stream>> {
        let scene = self.scene;
        let target = if http2 { &scene.http2 } else { &scene.http1 };
        let may_refuse = scene.is_signalled();
        let stream = target.connect().await?;
        match &stream {
            Some(_) => self.tally.connections += 1,
            None if may_refuse || scene.is_signalled() => self.tally.refused += 1,
            None => {
                return Err(std::io::Error::other(
                    "a connection was refused before the signal",
                ));
            }
        }
        Ok(stream)
    }

    fn record(&mut self, client: Client, connected: Instant, outcome: Outcome, expected: Expected) {
        if let Outcome::Lost(loss) = outcome {
            let age = connected.elapsed();
            let loss =
                format!("{client:?} lost a request: {loss}, {age:.1?} after it had connected");
            self.scene.record_loss(&loss);
        }
        self.tally.record(outcome, expected);
        self.hold.take();
    }
}

/// Returns a path that is answered in far less than a grace period, and its answer.
fn request(rng: &mut Rng) -> (String, Expected) {
    match rng.u8(..8) {
        0..=2 => ("/".to_owned(), body(6)),
        3 | 4 => (format!("/sleep/{}", rng.u8(1..80)), body(6)),
        5 => (format!("/stream/5/{}", rng.u8(1..20)), body(5 * 8)),
        6 => {
            let length = rng.u64(..300_000);
            (format!("/bytes/{length}"), body(length))
        }
        _ => (format!("/block/{}", rng.u8(1..10)), body(8)),
    }
}

fn body(length: u64) -> Expected {
    Expected {
        status: 200,
        body: Some(length),
    }
}
