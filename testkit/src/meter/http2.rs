//! The client's side of an HTTP/2 connection, one request at a time.

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
        Self {
            stream,
            session: Session::new(),
            leaving: false,
        }
    }

    async fn look(&mut self) -> bool {
        while let Some(read) = self.stream.reader.look().await {
            let Ok(bytes @ [_, ..]) = read else {
                return false;
            };
            self.session.fill(bytes);
            while let Ok(Some(frame)) = self.session.next_frame() {
                self.leaving |= matches!(frame, Frame::GoAway { .. });
            }
        }
        !self.leaving
            && flush(&mut self.session, &mut self.stream.writer)
                .await
                .is_ok()
    }

    async fn get(&mut self, path: &str) -> Outcome {
        let mut answer = Answer {
            stream: self.session.request("GET", path, true),
            status: 0,
            body: 0,
            received: 0,
        };
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
    async fn read(&mut self, answer: &mut Answer) -> Result<Outcome> {
        loop {
            while let Some(frame) = self.session.next_frame()? {
                self.leaving |= matches!(frame, Frame::GoAway { .. });
                if let Some(outcome) = answer.take(frame, self.leaving) {
                    return Ok(outcome);
                }
            }
            // A server that has already gone may have answered all the same.
            let _ = flush(&mut self.session, &mut self.stream.writer).await;
            let bytes = self.stream.reader.read().await?;
            if bytes.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.session.fill(bytes);
        }
    }
}

/// The answer on one stream, as far as it has come.
struct Answer {
    stream: u32,
    status: u16,
    body: u64,
    received: u64,
}

impl Answer {
    /// Takes in a frame, and says how the request has ended, if it has.
    fn take(&mut self, frame: Frame, leaving: bool) -> Option<Outcome> {
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
