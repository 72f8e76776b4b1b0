//! An HTTP/2 reader that is slowed by flow control.

use crate::frames::{Frame, Session};
use crate::meter::http2::{Answer, Http2};
use crate::meter::tally::{Loss, Outcome};
use crate::meter::transport::Stream;
use smol::Timer;
use std::io::Result;
use std::time::Duration;

/// The window of a stream.
const WINDOW: u32 = 64 * 1024;

/// Asks for `path` on a fresh connection. After each frame of the answer (16 KB at most), it
/// pauses, widens the window and calls `begun`.
pub async fn read(stream: Stream, path: &str, pause: Duration, begun: impl FnMut()) -> Outcome {
    let mut conn = Http2::over(stream, Session::with_window(WINDOW));
    let stream = conn.session().request("GET", path, true);
    let mut answer = Answer::on(stream);
    match frames(&mut conn, stream, &mut answer, pause, begun).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Lost(Loss::new(&error, answer.received)),
    }
}

async fn frames(
    conn: &mut Http2,
    stream: u32,
    answer: &mut Answer,
    pause: Duration,
    mut begun: impl FnMut(),
) -> Result<Outcome> {
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
            begun();
            Timer::after(pause).await;
            conn.session().widen(stream, more);
            conn.session().widen(0, more);
            // A server that has sent all may be gone: what it sent is still to be read.
            let _ = conn.flush().await;
        }
    }
}
