//! HTTP/2 readers that are slowed by flow control, of a body that its handler gave away in one
//! frame: all of it is in the server when the handler is done.

use crate::round::Round;
use smol::Timer;
use std::io::Result;
use std::time::Duration;
use testkit::frames::{Frame, Session};
use testkit::meter::gate::Hold;
use testkit::meter::http2::{Answer, Http2};
use testkit::meter::tally::{Expected, Loss, Outcome, Tally};

const LENGTH: u64 = 4_000_000;
/// The window of a stream.
const WINDOW: u32 = 64 * 1024;
/// After each frame of 16 KB: the whole takes 7 to 8 s, which is more than any timer but the grace
/// period.
const PAUSE: Duration = Duration::from_millis(30);

const EXPECTED: Expected = Expected {
    status: 200,
    body: Some(LENGTH),
};

/// Sends the signal when every answer has begun.
pub(crate) async fn run(round: &Round<'_>) -> Result<Tally> {
    round
        .play(|hold| client(round, hold), async { round.signal() })
        .await
}

async fn client(round: &Round<'_>, hold: Hold) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(stream) = round.connect(&mut tally).await? else {
        return Ok(tally);
    };
    let mut conn = Http2::over(stream, Session::with_window(WINDOW));
    let stream = conn
        .session()
        .request("GET", &format!("/full/{LENGTH}"), true);
    let mut answer = Answer::on(stream);
    let outcome = match read(&mut conn, stream, &mut answer, hold).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Lost(Loss::new(&error, answer.received)),
    };
    round.record(&mut tally, outcome, EXPECTED)?;
    Ok(tally)
}

async fn read(conn: &mut Http2, stream: u32, answer: &mut Answer, hold: Hold) -> Result<Outcome> {
    let mut hold = Some(hold);
    conn.flush().await?;
    loop {
        let frame = conn.frame().await?;
        let more = match &frame {
            Frame::Data { bytes, .. } => u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            _ => 0,
        };
        if let Some(outcome) = answer.take(frame, false) {
            return Ok(outcome);
        }
        if more > 0 {
            hold.take();
            Timer::after(PAUSE).await;
            conn.session().widen(stream, more);
            conn.session().widen(0, more);
            conn.flush().await?;
        }
    }
}
