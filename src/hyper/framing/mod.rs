//! Tracks the position of a connection in HTTP/1: between two requests, in a head, or in a body.
//!
//! hyper knows this, but doesn't expose it. These promises depend on where one request ends and the
//! next begins, which neither the bytes that arrive nor their acknowledgements show:
//!
//! - Z4: half a head is a request that has begun, even if it arrived in the same segment as a
//!   request that has been answered since. An empty line is not.
//! - Z13: a head's time counts from its first byte.
//! - Z5: a connection whose request was answered before its body was read is not idle while the
//!   body is arriving.
//! - Z8: if a peer pauses within a body that nobody reads, the close waits for it, since an earlier
//!   close would reset it when it goes on.
//!
//! [`Framing`] is given all bytes before hyper sees them, and each head that hyper has parsed, with
//! how its body ends. So it reads only as much of HTTP as it takes to find the end of each part:
//! lines, lengths and chunk sizes. hyper checks whether a message is well formed, and ends the
//! connection if it is not.
//!
//! Of HTTP/2, it reads the headers of the frames, for Z4 and Z13: until the peer has sent the last
//! frame of a head, neither hyper nor its service knows of the request.

mod chunks;
mod frames;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;

use memchr::memchr;

use self::{chunks::Chunks, frames::Frames};

/// Tracks the position of a connection by the bytes that have arrived.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    stage: Stage,
    /// The bytes that arrived after a head which hyper has not parsed.
    ahead: Vec<u8>,
    /// How many bytes of HTTP/2's preface have arrived.
    preface: usize,
    /// Set once a byte has arrived that differs from the preface.
    not_http2: bool,
}

#[derive(Debug)]
enum Stage {
    Head(Head),
    /// After a head that hyper has not parsed yet. The bytes that follow it are kept in `ahead`:
    /// only hyper knows what they are.
    Unparsed,
    /// In a body of which this many bytes are left.
    Exact(u64),
    /// In a chunked body.
    Chunked(Chunks),
    /// In HTTP/2, after its preface.
    Http2(Frames),
    /// In the protocol after an upgrade: what arrives is no longer HTTP.
    Upgraded,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Head(Head::Blank)
    }
}

/// A head that is being read, by the rules of httparse: empty lines before it are ignored, and
/// lines end with LF.
#[derive(Clone, Copy, Debug)]
enum Head {
    /// Nothing but empty lines has arrived: no request has begun.
    Blank,
    InLine,
    LineStart,
    /// A CR has arrived at the start of a line, which is empty if LF follows.
    EmptyLine,
}

impl Head {
    /// Reads to the end of the head; returns what follows it, or `None` if the end has not arrived.
    #[inline]
    fn receive<'b>(&mut self, mut bytes: &'b [u8]) -> Option<&'b [u8]> {
        loop {
            if let Self::InLine = self {
                // Only LF ends a line, and most bytes of a head are inside lines.
                loop {
                    let end = memchr(b'\n', bytes)?;
                    bytes = &bytes[end + 1..];
                    match bytes {
                        [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => return Some(rest),
                        [] | [b'\r'] => break,
                        _ => {}
                    }
                }
                *self = Self::LineStart;
            }
            let (&byte, rest) = bytes.split_first()?;
            *self = match (*self, byte) {
                (Self::Blank, b'\r' | b'\n') => Self::Blank,
                (Self::LineStart | Self::EmptyLine, b'\n') => return Some(rest),
                (Self::LineStart, b'\r') => Self::EmptyLine,
                _ => Self::InLine,
            };
            bytes = rest;
        }
    }
}

/// How the end of a request's body is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Body {
    #[default]
    None,
    Exact(u64),
    Chunked,
}

/// The largest buffer that a connection keeps between two requests.
const MOST_KEPT: usize = 4096;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How many bytes of the preface suffice until more arrive: HTTP/1 has no method `PRI`, but longer
/// ones that begin with it.
const METHOD: usize = 3;

impl Framing {
    /// Takes in `bytes`, which hyper has not seen yet.
    #[inline]
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        if !self.not_http2 {
            if let Stage::Http2(frames) = &mut self.stage {
                return frames.receive(bytes);
            }
            let rest = &PREFACE[self.preface..];
            let length = rest.len().min(bytes.len());
            self.preface += length;
            self.not_http2 = rest[..length] != bytes[..length];
            if self.is_http2_for_good() {
                let mut frames = Frames::default();
                frames.receive(&bytes[length..]);
                self.stage = Stage::Http2(frames);
                self.ahead = Vec::new();
                return;
            }
        }
        self.advance(bytes);
    }

    /// Notes that hyper has parsed the next head, which announces `body`.
    #[inline]
    pub(crate) fn parsed(&mut self, body: Body) {
        let Stage::Unparsed = self.stage else {
            // The request came over HTTP/2.
            return;
        };
        self.stage = match body {
            Body::None | Body::Exact(0) => Stage::default(),
            Body::Exact(length) => Stage::Exact(length),
            Body::Chunked => Stage::Chunked(Chunks::default()),
        };
        if !self.ahead.is_empty() {
            self.advance_ahead();
        }
    }

    fn advance_ahead(&mut self) {
        let length = self.ahead.len() as u64;
        match &mut self.stage {
            // Most bodies that arrive with their head end with these bytes, or after them.
            Stage::Exact(left) if *left >= length && self.ahead.capacity() <= MOST_KEPT => {
                *left -= length;
                if *left == 0 {
                    self.stage = Stage::default();
                }
                self.ahead.clear();
                return;
            }
            _ => {}
        }
        let mut ahead = std::mem::take(&mut self.ahead);
        self.advance(&ahead);
        if self.ahead.is_empty() && ahead.capacity() <= MOST_KEPT {
            ahead.clear();
            self.ahead = ahead;
        }
    }

    /// Stops reading: the connection has become a tunnel.
    pub(crate) fn upgraded(&mut self) {
        self.stage = Stage::Upgraded;
    }

    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (next, rest) = match &mut self.stage {
                Stage::Head(head) => match head.receive(bytes) {
                    Some(rest) => (Stage::Unparsed, rest),
                    None => return,
                },
                Stage::Unparsed => return self.ahead.extend_from_slice(bytes),
                Stage::Exact(left) => {
                    let length = usize::try_from(*left).map_or(bytes.len(), |n| n.min(bytes.len()));
                    *left -= length as u64;
                    if *left > 0 {
                        return;
                    }
                    (Stage::default(), &bytes[length..])
                }
                Stage::Chunked(chunks) => match chunks.receive(bytes) {
                    Some(rest) => (Stage::default(), rest),
                    None => return,
                },
                Stage::Http2(_) | Stage::Upgraded => return,
            };
            self.stage = next;
            bytes = rest;
        }
    }

    /// Returns whether the connection began like HTTP/2.
    fn is_http2(&self) -> bool {
        self.preface >= METHOD && !self.not_http2
    }

    /// Returns whether all of HTTP/2's preface has arrived.
    fn is_http2_for_good(&self) -> bool {
        self.preface == PREFACE.len() && !self.not_http2
    }

    /// Returns the position, as far as bytes have arrived.
    #[inline]
    pub(crate) fn position(&self) -> Position {
        let stage = match &self.stage {
            Stage::Head(Head::Blank) => 0,
            Stage::Head(_) => Position::IN_HEAD | Position::HEAD_BEGUN,
            Stage::Unparsed if self.ahead.is_empty() => Position::HEAD_BEGUN | Position::HEAD_ALONE,
            Stage::Unparsed => Position::HEAD_BEGUN,
            Stage::Exact(_) | Stage::Chunked(_) => Position::IN_BODY,
            Stage::Http2(frames) => {
                let head = if frames.is_in_head() {
                    Position::IN_HEAD | Position::HEAD_BEGUN
                } else if frames.may_be_in_head() {
                    Position::HEAD_BEGUN
                } else if frames.is_greeting() {
                    Position::IN_HEAD
                } else {
                    0
                };
                return Position(head | Position::HTTP2 | Position::HTTP2_FOR_GOOD);
            }
            Stage::Upgraded => Position::UPGRADED,
        };
        if self.not_http2 || !self.is_http2() {
            return Position(stage);
        }
        // Half a preface of HTTP/2 doesn't count as half a head.
        Position(stage & !(Position::IN_HEAD | Position::HEAD_BEGUN) | Position::HTTP2)
    }
}

/// The position that a [`Framing`] has reached: flags in one byte, which is read without the
/// framing's lock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position(u8);

impl Position {
    /// Set while the end of a head has not arrived, and in HTTP/2 until the peer's first frame is
    /// complete. Not set in half a preface.
    const IN_HEAD: u8 = 1;
    /// Set from the first byte of a head until hyper has parsed it, and in HTTP/2 while the type of
    /// a frame has not arrived. Not set in half a preface.
    const HEAD_BEGUN: u8 = 2;
    /// Set while the end of a request's body has not arrived. Never set in HTTP/2.
    const IN_BODY: u8 = 4;
    /// Set while all bytes agree with the preface of HTTP/2, from its first three on.
    const HTTP2: u8 = 8;
    /// Set once all of the preface has arrived; `HTTP2` is set then too.
    const HTTP2_FOR_GOOD: u8 = 16;
    /// Set once the connection has become a tunnel.
    const UPGRADED: u8 = 32;
    /// Set beside `HEAD_BEGUN` if the head is complete and nothing has arrived after it.
    const HEAD_ALONE: u8 = 64;
    /// Set alone: this is [`PARSED`](Self::PARSED).
    const PARSED_LATER: u8 = 128;

    /// Written by `Activity` in place of the position of the [`Framing`], when hyper has parsed a
    /// head without a body. The framing is told when the next bytes arrive.
    pub(crate) const PARSED: Self = Self(Self::PARSED_LATER);

    pub(crate) fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    pub(crate) fn byte(self) -> u8 {
        self.0
    }

    fn has(self, any: u8) -> bool {
        self.0 & any != 0
    }

    /// Returns whether the connection began like HTTP/2, as far as bytes have arrived.
    pub(crate) fn is_http2(self) -> bool {
        self.has(Self::HTTP2)
    }

    /// Returns whether the connection is HTTP/2 for certain.
    pub(crate) fn is_http2_for_good(self) -> bool {
        self.has(Self::HTTP2_FOR_GOOD)
    }

    /// Returns whether a head has begun and its end has not arrived. The preface of HTTP/2 counts
    /// as a head until it and the frame behind it are complete, and so do the first bytes of any
    /// frame until its type has arrived.
    pub(crate) fn is_in_head(self) -> bool {
        self.has(Self::IN_HEAD)
            || self.is_http2() && (self.is_head_begun() || !self.is_http2_for_good())
    }

    /// Returns whether the peer is in a HEADERS frame of HTTP/2, or in a CONTINUATION of it.
    pub(crate) fn is_in_http2_head(self) -> bool {
        let head = Self::IN_HEAD | Self::HEAD_BEGUN | Self::HTTP2_FOR_GOOD;
        self.0 & head == head
    }

    /// Returns whether a head has begun and hyper has not parsed it, because it is incomplete or
    /// another request comes first.
    pub(crate) fn is_head_begun(self) -> bool {
        self.has(Self::HEAD_BEGUN)
    }

    /// Returns whether the end of the last request's body has not arrived.
    pub(crate) fn is_in_body(self) -> bool {
        self.has(Self::IN_BODY)
    }

    /// Returns whether nothing has arrived after a head that hyper has not parsed.
    pub(crate) fn is_head_alone(self) -> bool {
        self.has(Self::HEAD_ALONE)
    }

    /// Returns whether this is [`PARSED`](Self::PARSED).
    pub(crate) fn is_parsed_later(self) -> bool {
        self.has(Self::PARSED_LATER)
    }

    /// Returns whether the bytes that arrive belong to a tunnel, and no longer matter.
    pub(crate) fn is_upgraded(self) -> bool {
        self.has(Self::UPGRADED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
    const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// Feeds these bytes in one read, after which hyper parses a head for each of these bodies.
    fn read(framing: &mut Framing, bytes: &[u8], bodies: &[Body]) {
        framing.receive(bytes);
        for &body in bodies {
            framing.parsed(body);
        }
    }

    #[test]
    fn finds_the_body_however_the_bytes_are_cut() {
        let message = [HEAD, b"hello"].concat();
        for cut in 0..message.len() {
            let mut framing = Framing::default();
            // hyper parses a head as soon as it is complete.
            let whole = cut >= HEAD.len();
            let bodies = &[Body::Exact(5)][..];
            read(
                &mut framing,
                &message[..cut],
                if whole { bodies } else { &[] },
            );
            assert_eq!(framing.position().is_in_body(), whole, "cut at {cut}");
            assert_eq!(
                framing.position().is_head_begun(),
                cut > 0 && !whole,
                "cut at {cut}"
            );
            assert_eq!(
                framing.position().is_in_head(),
                cut > 0 && !whole,
                "cut at {cut}"
            );
            read(
                &mut framing,
                &message[cut..],
                if whole { &[] } else { bodies },
            );
            assert!(
                !framing.position().is_in_body() && !framing.position().is_head_begun(),
                "cut at {cut}"
            );
            assert!(!framing.position().is_http2());
        }
    }

    #[test]
    fn begins_anew_with_the_next_request() {
        let mut framing = Framing::default();
        read(&mut framing, &[HEAD, b"hello"].concat(), &[Body::Exact(5)]);
        read(&mut framing, HEAD, &[Body::Exact(5)]);
        assert!(framing.position().is_in_body());
        framing.receive(b"hel");
        assert!(framing.position().is_in_body());
    }

    #[test]
    fn knows_the_end_of_chunks() {
        let mut framing = Framing::default();
        read(&mut framing, HEAD, &[Body::Chunked]);
        framing.receive(b"5\r\nhello\r\n0");
        assert!(framing.position().is_in_body());
        framing.receive(b"\r\n\r\n");
        assert!(!framing.position().is_in_body());
    }

    #[test]
    fn data_that_looks_so_ends_no_chunks() {
        let mut framing = Framing::default();
        read(&mut framing, HEAD, &[Body::Chunked]);
        framing.receive(b"9\r\n\r\n0\r\n\r\n");
        assert!(framing.position().is_in_body());
        framing.receive(b"\r\n\r\n0;last\r\nTrailer: a\r\n");
        assert!(framing.position().is_in_body());
        framing.receive(b"\r\n");
        assert!(!framing.position().is_in_body());
    }

    /// Z4: a head has begun whether it began in the segment of another request or behind it; a
    /// complete one has not been parsed until hyper says so; and empty lines are not a head.
    #[test]
    fn half_a_head_behind_any_request_has_begun() {
        let chunked =
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let exact = [HEAD, b"hello"].concat();
        let before: [(&[u8], &[Body]); 6] = [
            (b"", &[]),
            (GET, &[Body::None]),
            (&exact, &[Body::Exact(5)]),
            (chunked, &[Body::Chunked]),
            (
                &[GET, &exact, chunked].concat(),
                &[Body::None, Body::Exact(5), Body::Chunked],
            ),
            (
                &[chunked, GET, GET].concat(),
                &[Body::Chunked, Body::None, Body::None],
            ),
        ];
        for (before, bodies) in before {
            for empty in [&b""[..], b"\r\n", b"\n\r\n"] {
                let begin = before.len() + empty.len();
                let stream = [before, empty, GET].concat();
                for end in before.len()..=stream.len() {
                    let mut framing = Framing::default();
                    read(&mut framing, &stream[..end], bodies);
                    let text = String::from_utf8_lossy(&stream[..end]);
                    assert_eq!(framing.position().is_head_begun(), end > begin, "{text}");
                    let within = end > begin && end < stream.len();
                    assert_eq!(framing.position().is_in_head(), within, "{text}");
                    assert!(!framing.position().is_in_body(), "{text}");
                    read(&mut framing, &stream[end..], &[Body::None]);
                    assert!(
                        !framing.position().is_head_begun() && !framing.position().is_in_body(),
                        "{text}"
                    );
                }
            }
        }
    }

    /// Z8: what arrived with the request before it is not taken for its body.
    #[test]
    fn a_pipelined_upload_is_owed() {
        let mut framing = Framing::default();
        read(
            &mut framing,
            &[GET, HEAD, b"hel"].concat(),
            &[Body::None, Body::Exact(5)],
        );
        assert!(framing.position().is_in_body());
        framing.receive(b"l");
        assert!(framing.position().is_in_body());
        framing.receive(b"o");
        assert!(!framing.position().is_in_body());
    }

    /// Z8: if the rest of a head arrives by itself, data behind it is not taken for the end of a
    /// head and a last chunk.
    #[test]
    fn the_rest_of_a_pipelined_head_is_not_a_head() {
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked";
        let mut framing = Framing::default();
        read(&mut framing, &[GET, &chunked[..]].concat(), &[Body::None]);
        read(
            &mut framing,
            b"\r\n\r\nf\r\na\r\n\r\n0\r\n\r\n",
            &[Body::Chunked],
        );
        assert!(framing.position().is_in_body());
    }

    /// Z8: empty lines before a head are not part of it.
    #[test]
    fn empty_lines_end_no_head() {
        let mut framing = Framing::default();
        framing.receive(b"\r\n\r\n");
        read(&mut framing, HEAD, &[Body::Exact(5)]);
        assert!(framing.position().is_in_body());
    }

    #[test]
    fn lines_may_end_with_lf_alone() {
        let mut framing = Framing::default();
        let message = b"POST / HTTP/1.1\nContent-Length: 5\n\nhello";
        read(&mut framing, message, &[Body::Exact(5)]);
        assert!(!framing.position().is_in_body() && !framing.position().is_head_begun());
    }

    /// Z6: what a tunnel carries is neither kept nor read as HTTP.
    #[test]
    fn a_tunnel_has_neither_heads_nor_bodies() {
        let mut framing = Framing::default();
        read(&mut framing, &[GET, GET].concat(), &[Body::None]);
        framing.upgraded();
        framing.receive(HEAD);
        assert!(
            !framing.position().is_head_begun()
                && !framing.position().is_in_body()
                && !framing.position().is_http2()
        );
        assert!(matches!(framing.stage, Stage::Upgraded));
    }

    #[test]
    fn knows_http2_by_its_preface() {
        for cut in 0..PREFACE.len() {
            let mut framing = Framing::default();
            framing.receive(&PREFACE[..cut]);
            assert_eq!(framing.position().is_http2(), cut >= 3);
            assert!(!framing.position().is_http2_for_good());
            framing.receive(&PREFACE[cut..]);
            assert!(framing.position().is_http2() && framing.position().is_http2_for_good());
            assert!(!framing.position().is_head_begun());
        }
    }

    /// Z2 Z4: a method that begins like the preface is one of HTTP/1.
    #[test]
    fn takes_no_method_for_the_preface() {
        for method in ["PROPFIND", "PRINT", "PRI"] {
            let message = format!("{method} / HTTP/1.1\r\n\r\n");
            for cut in 0..message.len() {
                let mut framing = Framing::default();
                framing.receive(&message.as_bytes()[..cut]);
                framing.receive(&message.as_bytes()[cut..]);
                assert!(!framing.position().is_http2(), "{message:?} cut at {cut}");
                assert!(
                    framing.position().is_head_begun(),
                    "{message:?} cut at {cut}"
                );
            }
        }
    }
}
