//! Decodes HTTP/1 responses without a socket, so that a blocking test client and the asynchronous
//! loss meter share it.
//!
//! It is stricter than a browser: a server that drains must still end each message where its head
//! said it would.

use std::io::{Error, ErrorKind, Result};

/// The status line and the header fields of a response.
#[derive(Debug, Clone)]
pub struct Head {
    /// The three digits of the status line.
    pub status: u16,
    /// Names and values in the order received, the names as written.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Returns the first value of a header field, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        fields
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns whether the server said `Connection: close`: it won't read another request here.
    pub fn closes(&self) -> bool {
        self.has_option("close")
    }

    /// Returns whether `Connection` has this option, such as `close` or `keep-alive`.
    pub fn has_option(&self, option: &str) -> bool {
        let fields = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case("connection"));
        fields
            .flat_map(|(_, value)| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(option))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| status_line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| malformed("status line", status_line))?;
        let headers = lines.map(|line| {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed("header field", line))?;
            Ok((name.to_owned(), value.trim().to_owned()))
        });
        Ok(Self {
            status,
            headers: headers.collect::<Result<_>>()?,
        })
    }

    /// Returns how the body is delimited (RFC 9112, section 6.3), for any request but HEAD and
    /// CONNECT.
    fn framing(&self) -> Result<State> {
        if let 101 | 204 | 304 = self.status {
            return Ok(State::Length(0));
        }
        if let Some(coding) = self.header("transfer-encoding") {
            let chunked = coding.eq_ignore_ascii_case("chunked");
            return if chunked {
                Ok(State::ChunkSize)
            } else {
                Err(malformed("transfer coding", coding))
            };
        }
        match self.header("content-length") {
            Some(length) => length
                .parse()
                .map(State::Length)
                .map_err(|_| malformed("content length", length)),
            None => Ok(State::UntilEof),
        }
    }
}

/// What the decoder has found next.
#[derive(Debug)]
pub enum Event {
    /// A final response begins; interim ones (100, 103) are passed over.
    Head(Head),
    /// Some more of its body, as it came: not necessarily a chunk of the wire.
    Data(Vec<u8>),
    /// The response is complete.
    End,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    UntilEof,
}

/// Turns the bytes of one connection into [`Event`]s, response after response.
#[derive(Debug)]
pub struct Decoder {
    input: Vec<u8>,
    state: State,
}

impl Decoder {
    /// Begins before the first response of a connection.
    pub fn new() -> Self {
        Self {
            input: Vec::new(),
            state: State::Head,
        }
    }

    /// Takes in bytes that were read.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Returns the next event, or `None` if more bytes must be read first.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            let step = match self.state {
                State::Head => self.head()?,
                State::Length(0) => return Ok(Some(self.end())),
                State::Length(left) => return Ok(self.data(left, State::Length)),
                State::UntilEof => return Ok(self.data(u64::MAX, |_| State::UntilEof)),
                State::ChunkSize => self.chunk_size()?,
                State::Chunk(0) => self.go(State::ChunkEnd),
                State::Chunk(left) => return Ok(self.data(left, State::Chunk)),
                State::ChunkEnd => self.chunk_end()?,
                State::Trailers => self.trailer(),
            };
            match step {
                Step::Again => {}
                Step::Found(event) => return Ok(Some(event)),
                Step::Starved => return Ok(None),
            }
        }
    }

    /// Returns how many bytes wait to be decoded: after [`Event::End`], those of the next response.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Says what the end of the connection means here: the end of a body that nothing else
    /// delimits, or an error.
    pub fn finish(&mut self) -> Result<Event> {
        match self.state {
            State::UntilEof => Ok(self.end()),
            State::Head if self.input.is_empty() => Err(early_end("before a response began")),
            State::Head => Err(early_end("within the head of a response")),
            _ => Err(early_end("within the body of a response")),
        }
    }

    fn head(&mut self) -> Result<Step> {
        let Some(text) = self.take_until(b"\r\n\r\n") else {
            return Ok(Step::Starved);
        };
        let head = Head::parse(&text)?;
        if let 100 | 102..=199 = head.status {
            return Ok(Step::Again);
        }
        self.state = head.framing()?;
        Ok(Step::Found(Event::Head(head)))
    }

    fn chunk_size(&mut self) -> Result<Step> {
        let Some(line) = self.take_until(b"\r\n") else {
            return Ok(Step::Starved);
        };
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| malformed("chunk size", &line))?;
        Ok(self.go(if size == 0 {
            State::Trailers
        } else {
            State::Chunk(size)
        }))
    }

    fn chunk_end(&mut self) -> Result<Step> {
        match self.take_until(b"\r\n") {
            None => Ok(Step::Starved),
            Some(line) if line.is_empty() => Ok(self.go(State::ChunkSize)),
            Some(line) => Err(malformed("end of a chunk", &line)),
        }
    }

    fn trailer(&mut self) -> Step {
        match self.take_until(b"\r\n") {
            None => Step::Starved,
            Some(line) if line.is_empty() => Step::Found(self.end()),
            Some(_) => Step::Again,
        }
    }

    fn go(&mut self, state: State) -> Step {
        self.state = state;
        Step::Again
    }

    fn end(&mut self) -> Event {
        self.state = State::Head;
        Event::End
    }

    /// Takes at most `left` bytes of a body, and notes in the state how many are still to come.
    fn data(&mut self, left: u64, state: impl FnOnce(u64) -> State) -> Option<Event> {
        if self.input.is_empty() {
            return None;
        }
        let available = self.input.len();
        let size = usize::try_from(left).map_or(available, |left| left.min(available));
        let rest = self.input.split_off(size);
        self.state = state(left - size as u64);
        Some(Event::Data(std::mem::replace(&mut self.input, rest)))
    }

    /// Takes the text before a mark, and drops the mark.
    fn take_until(&mut self, mark: &[u8]) -> Option<String> {
        let at = self
            .input
            .windows(mark.len())
            .position(|window| window == mark)?;
        let text = String::from_utf8_lossy(&self.input[..at]).into_owned();
        self.input.drain(..at + mark.len());
        Some(text)
    }
}

/// What one step of the decoder came to.
enum Step {
    Again,
    Found(Event),
    Starved,
}

fn malformed(what: &str, text: &str) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("malformed {what}: {text:?}"),
    )
}

fn early_end(place: &str) -> Error {
    Error::new(
        ErrorKind::UnexpectedEof,
        format!("the connection ended {place}"),
    )
}
