//! The client's side of an HTTP/2 connection, one request at a time, or frame by frame.

use crate::frames::{Frame, REFUSED_STREAM, Session};
use crate::meter::peer::Peer;
use crate::meter::tally::{Cause, Loss, Outcome};
use crate::meter::transport::{Stream, Writer};
use std::io::{ErrorKind, Result};

/// A connection that has seen no request yet, or some.
pub struct Http2 {
    stream: Stream,
    session: Session,
    /// A GOAWAY was read: whatever its number says, this client places no further request here.
    leaving: bool,
}

impl Peer for Http2 {
    fn new(stream: Stream) -> Self {
        Self::over(stream, Session::new())
    }

    async fn look(&mut self) -> bool {
        self.arrived().await.is_ok() && !self.leaving
    }

    async fn get(&mut self, path: &str) -> Outcome {
        let mut answer = Answer::on(self.session.request("GET", path, true));
        // After a failed write there may still be a GOAWAY to read, which makes the request safe to
        // send again.
        let written = flush(&mut self.session, &mut self.stream.writer).await;
        match self.read(&mut answer).await {
            Ok(outcome) => outcome,
            Err(error) => {
                Outcome::Lost(Loss::new(&written.err().unwrap_or(error), answer.received))
            }
        }
    }

    async fn leave(self) -> bool {
        let Self {
            stream: Stream { reader, mut writer },
            mut session,
            ..
        } = self;
        // The server's last GOAWAY, and with it the end, may wait for a ping to be acknowledged. A
        // failed write needs no report: the reader sees how the connection ends.
        let _ = flush(&mut session, &mut writer).await;
        let answer_pings = async |bytes: &[u8]| {
            session.fill(bytes);
            while let Ok(Some(_)) = session.next_frame() {}
            let _ = flush(&mut session, &mut writer).await;
        };
        reader.leave(answer_pings).await
    }
}

impl Http2 {
    /// Speaks `session` on a fresh connection; writes nothing yet.
    pub fn over(stream: Stream, session: Session) -> Self {
        Self {
            stream,
            session,
            leaving: false,
        }
    }

    /// Returns the session to queue frames with, which [`flush`](Self::flush) then writes.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Writes what is queued.
    pub async fn flush(&mut self) -> Result<()> {
        flush(&mut self.session, &mut self.stream.writer).await
    }

    /// Waits for the next frame. Settings and pings are acknowledged.
    pub async fn frame(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.session.next_frame()? {
                self.leaving |= matches!(frame, Frame::GoAway { .. });
                return Ok(frame);
            }
            // A server that is already gone may have sent everything.
            let _ = self.flush().await;
            let bytes = self.stream.reader.read().await?;
            if bytes.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.session.fill(bytes);
        }
    }

    /// Takes the frames that have arrived. Settings and pings are acknowledged; the end of the
    /// connection is an error.
    pub async fn arrived(&mut self) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        while let Some(read) = self.stream.reader.look().await {
            let bytes = read?;
            if bytes.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.session.fill(bytes);
        }
        while let Some(frame) = self.session.next_frame()? {
            self.leaving |= matches!(frame, Frame::GoAway { .. });
            frames.push(frame);
        }
        self.flush().await?;
        Ok(frames)
    }

    async fn read(&mut self, answer: &mut Answer) -> Result<Outcome> {
        loop {
            let frame = self.frame().await?;
            if let Some(outcome) = answer.take(frame, self.leaving) {
                return Ok(outcome);
            }
        }
    }
}

/// The answer on one stream, as far as it has come.
pub struct Answer {
    stream: u32,
    /// 0 before the head.
    pub status: u16,
    pub body: u64,
    /// Bytes of the body, and one for the head.
    pub received: u64,
}

impl Answer {
    /// Returns the state of a stream of which nothing has arrived.
    pub fn on(stream: u32) -> Self {
        Self {
            stream,
            status: 0,
            body: 0,
            received: 0,
        }
    }

    /// Takes in a frame, and says how the request has ended, if it has.
    pub fn take(&mut self, frame: Frame, leaving: bool) -> Option<Outcome> {
        let end = match frame {
            Frame::Headers {
                stream,
                status,
                end,
            } if stream == self.stream => {
                self.status = status.unwrap_or(self.status);
                self.received += 1;
                end
            }
            Frame::Data { stream, bytes, end } if stream == self.stream => {
                self.body += bytes.len() as u64;
                self.received += bytes.len() as u64;
                end
            }
            Frame::Reset {
                stream,
                code: REFUSED_STREAM,
            } if stream == self.stream => return Some(Outcome::Retryable),
            Frame::Reset { stream, code } if stream == self.stream => {
                return Some(Outcome::Lost(Loss {
                    cause: Cause::StreamReset(code),
                    received: self.received,
                }));
            }
            Frame::GoAway { last_stream, .. } if last_stream < self.stream => {
                return Some(Outcome::Retryable);
            }
            _ => false,
        };
        end.then_some(Outcome::Answered {
            status: self.status,
            body: self.body,
            leaving,
        })
    }
}

async fn flush(session: &mut Session, writer: &mut Writer) -> Result<()> {
    let bytes = session.take_output();
    if bytes.is_empty() {
        Ok(())
    } else {
        writer.write(&bytes).await
    }
}
