//! A blocking HTTP/2 client with prior knowledge, which shows the frames as they arrive.

use crate::client::{connect, during};
use crate::frames::{Frame, Session};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Complete {
        status: u16,
        body: Vec<u8>,
    },
    /// Reset with this error code, for instance [`crate::frames::REFUSED_STREAM`].
    Reset {
        code: u32,
    },
    /// Above the last stream of a GOAWAY: not acted upon, and free to be retried elsewhere.
    AboveGoAway {
        last_stream: u32,
    },
}

/// One HTTP/2 connection to the server under test.
#[derive(Debug)]
pub struct H2Conn {
    stream: TcpStream,
    session: Session,
    /// Frames that were read while looking for another one.
    skipped: Vec<Frame>,
}

impl H2Conn {
    /// Connects and sends the preface.
    pub fn open(addr: SocketAddr) -> Result<Self> {
        let mut conn = Self {
            stream: connect(addr)?,
            session: Session::new(),
            skipped: Vec::new(),
        };
        conn.flush()?;
        Ok(conn)
    }

    /// Sends a GET request on a new stream, and returns its id.
    pub fn get(&mut self, path: &str) -> Result<u32> {
        let stream = self.session.request("GET", path, true);
        self.flush()?;
        Ok(stream)
    }

    /// Sends a GET request on a new stream but for the last frame of its head, and returns its id.
    /// [`end_head`](Self::end_head) brings that frame.
    pub fn begin_head(&mut self, path: &str) -> Result<u32> {
        let stream = self.session.begin_head(path);
        self.flush()?;
        Ok(stream)
    }

    /// Sends the last frame of a head.
    pub fn end_head(&mut self, stream: u32) -> Result<()> {
        self.session.end_head(stream);
        self.flush()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        (self.stream.write_all(bytes)).map_err(|error| during("writing", &error))
    }

    /// Begins a POST request on a new stream, and returns its id. [`H2Conn::send_data`] brings the
    /// body.
    pub fn post(&mut self, path: &str) -> Result<u32> {
        let stream = self.session.request("POST", path, false);
        self.flush()?;
        Ok(stream)
    }

    /// Asks for a tunnel on a new stream, and returns its id.
    pub fn connect(&mut self, authority: &str) -> Result<u32> {
        let stream = self.session.connect(authority);
        self.flush()?;
        Ok(stream)
    }

    /// Sends a piece of a body, within the server's window.
    pub fn send_data(&mut self, stream: u32, bytes: &[u8], end: bool) -> Result<()> {
        self.session.data(stream, bytes, end);
        self.flush()
    }

    /// Sends a ping, whose acknowledgement shows that all frames before it were read.
    pub fn ping(&mut self, payload: [u8; 8]) -> Result<()> {
        self.session.ping(payload);
        self.flush()
    }

    /// Returns the first frame, read before or yet to come, that this function wants. The others
    /// are kept in order.
    pub fn find<T>(&mut self, wanted: &str, pick: impl Fn(&Frame) -> Option<T>) -> Result<T> {
        let mut seen = 0;
        loop {
            while let Some(frame) = self.skipped.get(seen) {
                if let Some(found) = pick(frame) {
                    self.skipped.remove(seen);
                    return Ok(found);
                }
                seen += 1;
            }
            match self.read_frame(wanted)? {
                Some(frame) => self.skipped.push(frame),
                None => {
                    return Err(Error::new(
                        ErrorKind::UnexpectedEof,
                        format!("the connection ended before {wanted}"),
                    ));
                }
            }
        }
    }

    /// Returns the last stream and the error code of the next GOAWAY.
    pub fn read_goaway(&mut self) -> Result<(u32, u32)> {
        self.find("a GOAWAY", |frame| match frame {
            Frame::GoAway { last_stream, code } => Some((*last_stream, *code)),
            _ => None,
        })
    }

    /// Reads until a stream is answered, reset, or refused by a GOAWAY, which stays to be read.
    pub fn read_answer(&mut self, stream: u32) -> Result<Answer> {
        let wanted = format!("the answer on stream {stream}");
        let mut answer = (0, Vec::new());
        loop {
            let frame = self.find(&wanted, |frame| {
                concerns(frame, stream).then(|| frame.clone())
            })?;
            let ended = match frame {
                Frame::Headers { status, end, .. } => {
                    answer.0 = status.unwrap_or(answer.0);
                    end
                }
                Frame::Data { bytes, end, .. } => {
                    answer.1.extend(bytes);
                    end
                }
                Frame::Reset { code, .. } => return Ok(Answer::Reset { code }),
                Frame::GoAway { last_stream, .. } => {
                    self.skipped.push(frame);
                    return Ok(Answer::AboveGoAway { last_stream });
                }
                _ => false,
            };
            if ended {
                return Ok(Answer::Complete {
                    status: answer.0,
                    body: answer.1,
                });
            }
        }
    }

    /// Reads to the end of the connection, and returns all frames that no one asked for. A reset is
    /// an error.
    pub fn read_to_end(mut self) -> Result<Vec<Frame>> {
        while let Some(frame) = self.read_frame("the end of the connection")? {
            self.skipped.push(frame);
        }
        Ok(self.skipped)
    }

    /// Reads the next frame from the socket, acknowledging settings and pings; `None` at a clean
    /// end.
    fn read_frame(&mut self, wanted: &str) -> Result<Option<Frame>> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(frame) = self.session.next_frame()? {
                // A server that has sent everything may be gone before its last settings or ping
                // are acknowledged.
                let _ = self.flush();
                return Ok(Some(frame));
            }
            let size = self
                .stream
                .read(&mut buffer)
                .map_err(|error| during(&format!("waiting for {wanted}"), &error))?;
            self.session.fill(&buffer[..size]);
            if size == 0 {
                let clean = self.session.is_between_frames();
                return if clean {
                    Ok(None)
                } else {
                    Err(Error::new(
                        ErrorKind::UnexpectedEof,
                        "a frame was cut short",
                    ))
                };
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        let bytes = self.session.take_output();
        self.stream
            .write_all(&bytes)
            .map_err(|error| during("writing", &error))
    }
}

/// Returns whether a frame decides something about a stream.
fn concerns(frame: &Frame, wanted: u32) -> bool {
    match frame {
        Frame::Headers { stream, .. }
        | Frame::Data { stream, .. }
        | Frame::Reset { stream, .. } => *stream == wanted,
        Frame::GoAway { last_stream, .. } => wanted > *last_stream,
        _ => false,
    }
}
