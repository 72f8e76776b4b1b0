//! Uploads that are answered at once, and go on: the handler has said 202 and reads on under a
//! guard of its own.

use crate::round::Round;
use smol::Timer;
use std::io::{Error, ErrorKind, Result};
use std::time::Duration;
use testkit::frames::Frame;
use testkit::meter::gate::Hold;
use testkit::meter::http1::{Http1, head};
use testkit::meter::http2::Http2;
use testkit::meter::peer::Peer;
use testkit::meter::tally::{Expected, Loss, Outcome, Tally};
use testkit::meter::transport::Stream;

/// As many bytes as fit in the window that HTTP/2 begins with, in pieces that take 7 s: longer than
/// any timer but the grace period.
const PIECE: usize = 800;
const PIECES: usize = 70;
const PAUSE: Duration = Duration::from_millis(100);

const EXPECTED: Expected = Expected {
    status: 202,
    body: None,
};

/// How it is spoken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Sends the signal when every upload is answered.
pub(crate) async fn run(round: &Round<'_>, protocol: Protocol) -> Result<Tally> {
    let tally = round
        .play(|hold| client(round, protocol, hold), async {
            round.signal()
        })
        .await?;
    Ok(tally)
}

async fn client(round: &Round<'_>, protocol: Protocol, hold: Hold) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(stream) = round.connect(&mut tally).await? else {
        return Ok(tally);
    };
    // Each of a length of its own, by which the server's word for it is known.
    let length = PIECES * PIECE + round.number();
    let uploaded = match protocol {
        Protocol::Http1 => upload1(stream, length, hold).await,
        Protocol::Http2 => upload2(stream, length, hold).await,
    };
    let outcome = match uploaded {
        Ok(status) => match read_by(round, length).await {
            Ok(()) => Outcome::Answered {
                status,
                body: 0,
                leaving: true,
            },
            Err(error) => Outcome::Lost(Loss::new(&error, 1)),
        },
        Err(error) => Outcome::Lost(Loss::new(&error, 1)),
    };
    round.record(&mut tally, outcome, EXPECTED)?;
    Ok(tally)
}

/// Returns the first pieces, one after another, and the last.
fn pieces(length: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..PIECES).map(move |n| {
        let last = n + 1 == PIECES;
        vec![b'u'; if last { length - n * PIECE } else { PIECE }]
    })
}

async fn upload1(stream: Stream, length: usize, hold: Hold) -> Result<u16> {
    let mut conn = Http1::new(stream);
    let fields = format!("content-length: {length}\r\n");
    conn.requests
        .write(&head("POST", "/accepted", &fields))
        .await?;
    let lost = |loss: Loss| Error::other(loss.to_string());
    let status = conn.answers.head().await.map_err(lost)?.status;
    drop(hold);
    for piece in pieces(length) {
        Timer::after(PAUSE).await;
        conn.requests.write(&piece).await?;
    }
    Ok(status)
}

async fn upload2(stream: Stream, length: usize, hold: Hold) -> Result<u16> {
    let mut conn = Http2::new(stream);
    let stream = conn.session().request("POST", "/accepted", false);
    conn.flush().await?;
    let status = loop {
        if let Frame::Headers { status, .. } = conn.frame().await? {
            break status.unwrap_or_default();
        }
    };
    drop(hold);
    let mut left = length;
    for piece in pieces(length) {
        Timer::after(PAUSE).await;
        let cut = |frame: &Frame| matches!(frame, Frame::Reset { .. });
        if conn.arrived().await?.iter().any(cut) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        left -= piece.len();
        conn.session().data(stream, &piece, left == 0);
        conn.flush().await?;
    }
    Ok(status)
}

/// Waits until the server says that it has read an upload of this length.
async fn read_by(round: &Round<'_>, length: usize) -> Result<()> {
    let text = format!("an upload of {length} bytes was read");
    for _ in 0..100 {
        if round.server.wait_for_stdout(&text, Duration::ZERO).is_ok() {
            return Ok(());
        }
        Timer::after(Duration::from_millis(20)).await;
    }
    Err(ErrorKind::UnexpectedEof.into())
}
