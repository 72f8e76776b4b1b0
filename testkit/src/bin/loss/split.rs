//! Requests that are cut in two by the signal: the first part is written before it, the rest some
//! time after.

use crate::round::Round;
use futures_lite::future::zip;
use smol::Timer;
use std::io::Result;
use std::time::Duration;
use testkit::meter::gate::Hold;
use testkit::meter::http1::{Http1, head};
use testkit::meter::tally::{Expected, Loss, Outcome, Tally};

/// Large enough that a server which closes too early truncates it, whatever the socket buffers
/// hold.
const UPLOAD: usize = 300_000;
/// Far more than a server reads of a body that it does not want.
const UNREAD: usize = 5_000_000;

/// A request in two parts.
pub(crate) struct Split {
    first: Vec<u8>,
    rest: Vec<u8>,
    delay: Duration,
    expected: Expected,
    reading: Reading,
}

/// When the client reads.
#[derive(Clone, Copy)]
enum Reading {
    FromTheStart,
    /// Only when all is written, or can't be: what a blocking client does.
    Afterwards,
}

/// Returns a request that is sent whole, some time after its connection was accepted.
///
/// The client doesn't check the connection again before it writes, as over a slow network.
pub(crate) fn silent() -> Split {
    Split::new(
        Vec::new(),
        head("GET", "/", ""),
        Duration::from_millis(200),
        Expected::OK,
    )
}

/// Returns a request whose head is cut in two.
pub(crate) fn half_head() -> Split {
    let (first, rest) = halves(head("GET", "/", ""));
    Split::new(first, rest, Duration::from_millis(300), Expected::OK)
}

/// Returns an upload whose body is cut in two, and must come back whole.
pub(crate) fn upload() -> Split {
    let mut first = head("POST", "/echo", &format!("content-length: {UPLOAD}\r\n"));
    let (body, rest) = halves(vec![b'u'; UPLOAD]);
    first.extend(body);
    let expected = Expected {
        status: 200,
        body: Some(UPLOAD as u64),
    };
    Split::new(first, rest, Duration::from_millis(300), expected)
}

/// Returns a large upload that the server answers without reading it, from a client that writes all
/// of it before it reads.
pub(crate) fn unread_body() -> Split {
    let mut first = head("POST", "/reject", &format!("content-length: {UNREAD}\r\n"));
    let mut body = vec![b'u'; UNREAD];
    let rest = body.split_off(64 * 1024);
    first.extend(body);
    let expected = Expected {
        status: 401,
        body: None,
    };
    Split {
        reading: Reading::Afterwards,
        ..Split::new(first, rest, Duration::ZERO, expected)
    }
}

impl Split {
    fn new(first: Vec<u8>, rest: Vec<u8>, delay: Duration, expected: Expected) -> Self {
        Self {
            first,
            rest,
            delay,
            expected,
            reading: Reading::FromTheStart,
        }
    }

    /// Sends the signal when every first part is written and every connection accepted.
    pub(crate) async fn run(&self, round: &Round<'_>) -> Result<Tally> {
        let stop = async {
            round.probe().await?;
            round.signal()
        };
        round.play(|hold| self.client(round, hold), stop).await
    }

    async fn client(&self, round: &Round<'_>, hold: Hold) -> Result<Tally> {
        let mut tally = Tally::default();
        let Some(stream) = round.connect(&mut tally).await? else {
            return Ok(tally);
        };
        let mut conn = Http1::new(stream);
        round.record(
            &mut tally,
            self.ask(&mut conn, round, hold).await,
            self.expected,
        )?;
        Ok(tally)
    }

    async fn ask(&self, conn: &mut Http1, round: &Round<'_>, hold: Hold) -> Outcome {
        let Http1 { requests, answers } = conn;
        let writing = async {
            requests.write(&self.first).await?;
            drop(hold);
            round.signalled().await;
            Timer::after(self.delay).await;
            requests.write(&self.rest).await
        };
        let (written, outcome) = match self.reading {
            Reading::FromTheStart => zip(writing, answers.next()).await,
            Reading::Afterwards => (writing.await, answers.next().await),
        };
        match (written, outcome) {
            // A complete answer counts even if the server would not take the whole request; a
            // failed write explains a loss.
            (Err(error), Outcome::Lost(Loss { received, .. })) => {
                Outcome::Lost(Loss::new(&error, received))
            }
            (_, outcome) => outcome,
        }
    }
}

fn halves(mut whole: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let rest = whole.split_off(whole.len() / 2);
    (whole, rest)
}
