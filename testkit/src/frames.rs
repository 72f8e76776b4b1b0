//! HTTP/2 as frames: enough of RFC 9113 to place requests and to see exactly what a draining server
//! sends.
//!
//! A client library hides the two GOAWAYs and decides by itself what is retryable; a test must see
//! the one and decide the other. Only the status is taken from a response's head. It is readable
//! without HPACK's state, because the session announces a header table of size 0.

use std::io::{Error, ErrorKind, Result};

/// The stream id of a first GOAWAY, which refuses nothing yet: "stop opening streams".
pub const NO_LIMIT: u32 = 0x7fff_ffff;
/// The error code of a stream that the server has not acted upon, and which may be retried.
pub const REFUSED_STREAM: u32 = 7;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const DEFAULT_WINDOW: u32 = 65_535;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Means `END_STREAM` on DATA and HEADERS, ACK on SETTINGS and PING.
const END_OR_ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// `status` is `None` for trailers.
    Headers {
        stream: u32,
        status: Option<u16>,
        end: bool,
    },
    Data {
        stream: u32,
        bytes: Vec<u8>,
        end: bool,
    },
    Reset {
        stream: u32,
        code: u32,
    },
    GoAway {
        last_stream: u32,
        code: u32,
    },
    Settings {
        ack: bool,
    },
    Ping {
        ack: bool,
        payload: [u8; 8],
    },
    Other {
        kind: u8,
    },
}

/// The client's half of a connection, without the socket: bytes go in and out, frames come out.
#[derive(Debug)]
pub struct Session {
    input: Vec<u8>,
    output: Vec<u8>,
    next_stream: u32,
}

impl Session {
    /// Queues the preface. The windows are opened as wide as they go, so that no caller has to
    /// think of flow control.
    pub fn new() -> Self {
        let mut session = Self::with_window(NO_LIMIT);
        session.widen(0, NO_LIMIT - DEFAULT_WINDOW);
        session
    }

    /// Queues the preface. Each stream's window is `window`, and the connection's the default of
    /// 64 KB: what is read must be given back by [`widen`](Self::widen).
    pub fn with_window(window: u32) -> Self {
        let mut session = Self {
            input: Vec::new(),
            output: PREFACE.to_vec(),
            next_stream: 1,
        };
        let (header_table_size, enable_push, initial_window_size) = (1_u16, 2_u16, 4_u16);
        let settings = [
            (header_table_size, 0),
            (enable_push, 0),
            (initial_window_size, window),
        ];
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(key, value)| key.to_be_bytes().into_iter().chain(value.to_be_bytes()))
            .collect();
        session.queue(SETTINGS, 0, 0, &payload);
        session
    }

    /// Queues a window update: the server may send `more` bytes on this stream, or on the whole
    /// connection, which is stream 0.
    pub fn widen(&mut self, stream: u32, more: u32) {
        self.queue(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    }

    /// Queues a CONNECT request, which opens a tunnel, and returns its stream.
    pub fn connect(&mut self, authority: &str) -> u32 {
        // The two fields of such a request, by their names in the static table.
        let mut block = Vec::new();
        for (name, value) in [(2, "CONNECT"), (1, authority)] {
            block.push(name);
            string(&mut block, value);
        }
        self.open(&block, false)
    }

    /// Queues the head of a GET or POST request, and returns its stream. `end` says that no body
    /// follows.
    pub fn request(&mut self, method: &str, path: &str, end: bool) -> u32 {
        // Fields of HPACK's static table, by their index.
        let (authority, get, post, path_name, http) = (1, 2, 3, 4, 6);
        let mut block = vec![
            0x80 | if method == "POST" { post } else { get },
            0x80 | http,
        ];
        for (name, value) in [(path_name, path), (authority, "test")] {
            block.push(name);
            string(&mut block, value);
        }
        self.open(&block, end)
    }

    /// Queues a GET request but for the last frame of its head, and returns its stream.
    pub fn begin_head(&mut self, path: &str) -> u32 {
        let begin = self.output.len();
        let stream = self.request("GET", path, true);
        // The flags of its only frame.
        self.output[begin + 4] &= !END_HEADERS;
        stream
    }

    /// Queues the last frame of a head.
    pub fn end_head(&mut self, stream: u32) {
        self.queue(CONTINUATION, END_HEADERS, stream, &[]);
    }

    fn open(&mut self, block: &[u8], end: bool) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let flags = END_HEADERS | if end { END_OR_ACK } else { 0 };
        self.queue(HEADERS, flags, stream, block);
        stream
    }

    /// Queues a piece of a request's body: no more than a frame and the server's window hold, 16
    /// and 64 KB by default.
    pub fn data(&mut self, stream: u32, bytes: &[u8], end: bool) {
        self.queue(DATA, if end { END_OR_ACK } else { 0 }, stream, bytes);
    }

    /// Queues a ping.
    pub fn ping(&mut self, payload: [u8; 8]) {
        self.queue(PING, 0, 0, &payload);
    }

    /// Takes the bytes to be written.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes in bytes that were read.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Returns the next whole frame, or `None` if more bytes must be read first. Settings and pings
    /// are acknowledged.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        let Some((head, rest)) = self.input.split_first_chunk::<FRAME_HEAD>() else {
            return Ok(None);
        };
        let size = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some(payload) = rest.get(..size) else {
            return Ok(None);
        };
        let stream = number(&head[5..])? & NO_LIMIT;
        let frame = Frame::parse(head[3], head[4], stream, payload)?;
        self.input.drain(..FRAME_HEAD + size);
        match frame {
            Frame::Settings { ack: false } => self.queue(SETTINGS, END_OR_ACK, 0, &[]),
            Frame::Ping {
                ack: false,
                payload,
            } => self.queue(PING, END_OR_ACK, 0, &payload),
            _ => {}
        }
        Ok(Some(frame))
    }

    /// Returns whether the server ended the connection between two frames.
    pub fn is_between_frames(&self) -> bool {
        self.input.is_empty()
    }

    fn queue(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let size = u32::try_from(payload.len())
            .expect("a test's frame fits in 16 KB")
            .to_be_bytes();
        self.output.extend_from_slice(&size[1..]);
        self.output.extend([kind, flags]);
        self.output.extend(stream.to_be_bytes());
        self.output.extend_from_slice(payload);
    }
}

impl Frame {
    fn parse(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Self> {
        let flag = |bit| flags & bit != 0;
        Ok(match kind {
            DATA => {
                let bytes = unpadded(payload, flag(PADDED))?.to_vec();
                Self::Data {
                    stream,
                    bytes,
                    end: flag(END_OR_ACK),
                }
            }
            HEADERS => {
                let block = unpadded(payload, flag(PADDED))?;
                let block = if flag(PRIORITY) {
                    tail(block, 5)?
                } else {
                    block
                };
                Self::Headers {
                    stream,
                    status: status(block),
                    end: flag(END_OR_ACK),
                }
            }
            RST_STREAM => Self::Reset {
                stream,
                code: number(payload)?,
            },
            SETTINGS => Self::Settings {
                ack: flag(END_OR_ACK),
            },
            PING => {
                let payload = payload.try_into().map_err(|_| malformed("ping"))?;
                Self::Ping {
                    ack: flag(END_OR_ACK),
                    payload,
                }
            }
            GOAWAY => Self::GoAway {
                last_stream: number(payload)? & NO_LIMIT,
                code: number(tail(payload, 4)?)?,
            },
            _ => Self::Other { kind },
        })
    }
}

/// Reads the status from the head of a response, where it is the first field.
fn status(mut block: &[u8]) -> Option<u16> {
    // The server may first acknowledge the size of the table: 001xxxxx.
    while let [update, rest @ ..] = block {
        if update & 0xe0 != 0x20 {
            break;
        }
        block = rest;
    }
    match *block {
        [field @ 0x88..=0x8e, ..] => {
            Some([200, 204, 206, 304, 400, 404, 500][usize::from(field - 0x88)])
        }
        // A literal whose name is any `:status` of the static table.
        [
            0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e,
            length,
            ref value @ ..,
        ] => {
            let value = value.get(..usize::from(length & 0x7f))?;
            if length & 0x80 == 0 {
                std::str::from_utf8(value).ok()?.parse().ok()
            } else {
                huffman_digits(value)
            }
        }
        _ => None,
    }
}

/// Decodes three digits of HPACK's Huffman code: 0, 1 and 2 take five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> Option<u16> {
    let mut bits = [0; 4];
    bits.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let mut bits = u32::from_be_bytes(bits);
    let mut digits = 0;
    for _ in 0..3 {
        let (digit, width) = match (bits >> 27, bits >> 26) {
            (five @ 0..=2, _) => (five, 5),
            (_, six @ 0x19..=0x1f) => (six - 0x19 + 3, 6),
            _ => return None,
        };
        digits = digits * 10 + u16::try_from(digit).ok()?;
        bits <<= width;
    }
    Some(digits)
}

/// Appends a string literal of HPACK, not Huffman-coded.
fn string(block: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len())
        .ok()
        .filter(|length| *length < 0x7f);
    block.push(length.expect("a test's path is shorter than 127 bytes"));
    block.extend_from_slice(text.as_bytes());
}

fn unpadded(payload: &[u8], padded: bool) -> Result<&[u8]> {
    if !padded {
        return Ok(payload);
    }
    let (length, rest) = payload.split_first().ok_or_else(|| malformed("padding"))?;
    let size = rest
        .len()
        .checked_sub(usize::from(*length))
        .ok_or_else(|| malformed("padding"))?;
    Ok(&rest[..size])
}

fn tail(payload: &[u8], from: usize) -> Result<&[u8]> {
    payload.get(from..).ok_or_else(|| malformed("payload"))
}

fn number(payload: &[u8]) -> Result<u32> {
    let digits = payload.first_chunk().ok_or_else(|| malformed("payload"))?;
    Ok(u32::from_be_bytes(*digits))
}

fn malformed(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("malformed {what} of an HTTP/2 frame"),
    )
}
