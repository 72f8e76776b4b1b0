mod chunks;
#[cfg(any(test, fuzzing))]
pub(crate) mod property;

use memchr::memchr;

use self::chunks::Chunks;

/// Where an HTTP/1 request's head ends in what was read: enough to tell, when the connection is closed, whether the peer
/// has sent all of its last request's body. The heads themselves are hyper's business.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    /// How many requests had been parsed when this one's bytes began.
    requests: usize,
    head: Head,
    /// What comes after the head, as far as it is chunks.
    chunks: Chunks,
    /// How many of the first bytes are those of HTTP/2's preface.
    preface: usize,
    not_http2: bool,
    /// The peer does not wait for answers: where a request begins is not known any more.
    pipelined: bool,
}

/// A head that is being read, by the rules of httparse: empty lines before it count for nothing, and lines end with LF.
#[derive(Clone, Copy, Debug, Default)]
enum Head {
    /// Nothing has come but empty lines.
    #[default]
    Blank,
    InLine,
    LineStart,
    /// A CR has come that may be all of the line.
    EmptyLine,
    /// Ended, with so many bytes after it.
    Ended(u64),
}

impl Head {
    fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Ended(_), _) => self,
            (Self::Blank, b'\r' | b'\n') => Self::Blank,
            (Self::LineStart | Self::EmptyLine, b'\n') => Self::Ended(0),
            (_, b'\n') => Self::LineStart,
            (Self::LineStart, b'\r') => Self::EmptyLine,
            _ => Self::InLine,
        }
    }
}

/// What hyper has made of all bytes before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parsed {
    /// Requests whose head it has parsed.
    pub(crate) requests: usize,
    /// Whether all of them have been answered.
    pub(crate) answered: bool,
    /// Of the last one.
    pub(crate) body: Body,
}

/// How the end of a request's body is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Body {
    #[default]
    None,
    Exact(u64),
    Chunked,
}

/// As a number, for an atomic.
impl Body {
    const CHUNKED: u64 = u64::MAX;

    pub(super) fn number(self) -> u64 {
        match self {
            Self::None => 0,
            // No body is that long.
            Self::Exact(length) => length.min(Self::CHUNKED - 1),
            Self::Chunked => Self::CHUNKED,
        }
    }

    pub(super) fn from_number(number: u64) -> Self {
        match number {
            0 => Self::None,
            Self::CHUNKED => Self::Chunked,
            length => Self::Exact(length),
        }
    }
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// So much of the preface is enough until more has come: HTTP/1 has no such method, but longer ones that begin so.
const METHOD: usize = 3;

impl Framing {
    /// Takes in `bytes`, which hyper has not seen yet.
    pub(crate) fn receive(&mut self, bytes: &[u8], parsed: Parsed) {
        if !self.not_http2 {
            let rest = &PREFACE[self.preface..];
            let length = rest.len().min(bytes.len());
            self.preface += length;
            self.not_http2 = rest[..length] != bytes[..length];
        }
        self.pipelined |= self.is_ahead(parsed);
        if self.pipelined {
            return;
        }
        if parsed.answered && parsed.requests != self.requests && !self.is_owed(parsed) {
            self.requests = parsed.requests;
            self.head = Head::Blank;
            self.chunks = Chunks::default();
        }
        let mut rest = bytes;
        while !matches!(self.head, Head::Ended(_)) {
            if let Head::InLine = self.head {
                // Nothing else ends a line, and most of a head is lines.
                let Some(end) = memchr(b'\n', rest) else {
                    return;
                };
                self.head = Head::LineStart;
                rest = &rest[end + 1..];
            }
            let Some((&byte, further)) = rest.split_first() else {
                return;
            };
            self.head = self.head.then(byte);
            rest = further;
        }
        if let Head::Ended(after) = &mut self.head {
            *after += rest.len() as u64;
        }
        self.chunks.receive(rest);
    }

    /// Whether the connection began as HTTP/2 does, as far as has come.
    pub(crate) fn is_http2(&self) -> bool {
        self.preface >= METHOD && !self.not_http2
    }

    /// Whether it will be no other than HTTP/2.
    pub(crate) fn is_http2_for_good(&self) -> bool {
        self.preface == PREFACE.len() && !self.not_http2
    }

    /// Whether the peer has yet to send the end of the last request's body; where that can't be known, it has.
    pub(crate) fn is_owed(&self, parsed: Parsed) -> bool {
        match (parsed.body, self.head) {
            (Body::None, _) => false,
            _ if parsed.requests == self.requests => false,
            // hyper tells the peer to send no more of a body that nobody reads.
            _ if self.is_http2() => false,
            _ if self.pipelined || self.is_ahead(parsed) => true,
            (Body::Exact(length), Head::Ended(after)) => after < length,
            (Body::Chunked, Head::Ended(_)) => !matches!(self.chunks, Chunks::Ended(_)),
            _ => true,
        }
    }

    /// Whether bytes beyond the last request came with it or before its answer, or it came with the one before.
    fn is_ahead(&self, parsed: Parsed) -> bool {
        match (parsed.requests - self.requests, parsed.body, self.head) {
            (0, ..) => false,
            (1, Body::None, Head::Ended(after)) => after > 0,
            (1, Body::Exact(length), Head::Ended(after)) => after > length,
            (1, Body::Chunked, _) => matches!(self.chunks, Chunks::Ended(after) if after > 0),
            (requests, ..) => requests > 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n";

    fn parsed(requests: usize, body: Body, answered: bool) -> Parsed {
        Parsed {
            requests,
            answered,
            body,
        }
    }

    const NOTHING: Parsed = Parsed {
        requests: 0,
        answered: true,
        body: Body::None,
    };

    #[test]
    fn finds_the_body_however_the_bytes_are_cut() {
        let message = [HEAD, b"hello"].concat();
        for cut in 0..message.len() {
            let mut framing = Framing::default();
            framing.receive(&message[..cut], NOTHING);
            let begun = parsed(1, Body::Exact(5), false);
            // hyper has parsed the head as soon as it was whole.
            let whole = cut >= HEAD.len();
            if whole {
                assert!(framing.is_owed(begun), "cut at {cut}");
            }
            framing.receive(&message[cut..], if whole { begun } else { NOTHING });
            assert!(!framing.is_owed(begun), "cut at {cut}");
            assert!(!framing.is_http2());
        }
    }

    #[test]
    fn begins_anew_with_the_next_request() {
        let mut framing = Framing::default();
        framing.receive(HEAD, NOTHING);
        framing.receive(b"hello", parsed(1, Body::Exact(5), false));
        framing.receive(HEAD, parsed(1, Body::Exact(5), true));
        assert!(framing.is_owed(parsed(2, Body::Exact(5), false)));
        framing.receive(b"hel", parsed(2, Body::Exact(5), false));
        assert!(framing.is_owed(parsed(2, Body::Exact(5), false)));
    }

    #[test]
    fn knows_the_end_of_chunks() {
        let begun = parsed(1, Body::Chunked, false);
        let mut framing = Framing::default();
        framing.receive(HEAD, NOTHING);
        framing.receive(b"5\r\nhello\r\n0", begun);
        assert!(framing.is_owed(begun));
        framing.receive(b"\r\n\r\n", begun);
        assert!(!framing.is_owed(begun));
    }

    #[test]
    fn data_that_looks_so_ends_no_chunks() {
        let begun = parsed(1, Body::Chunked, false);
        let mut framing = Framing::default();
        framing.receive(HEAD, NOTHING);
        framing.receive(b"9\r\n\r\n0\r\n\r\n", begun);
        assert!(framing.is_owed(begun));
        framing.receive(b"\r\n\r\n0;last\r\nTrailer: a\r\n", begun);
        assert!(framing.is_owed(begun));
        framing.receive(b"\r\n", begun);
        assert!(!framing.is_owed(begun));
    }

    /// Z8: an upload that was refused before its first chunk came.
    #[test]
    fn the_end_of_a_head_ends_no_chunks() {
        let mut framing = Framing::default();
        framing.receive(HEAD, NOTHING);
        assert!(framing.is_owed(parsed(1, Body::Chunked, true)));
    }

    /// Z8: what came with the request before is not taken for its body.
    #[test]
    fn a_pipelined_upload_is_owed() {
        let mut framing = Framing::default();
        framing.receive(&[b"GET / HTTP/1.1\r\n\r\n", HEAD, b"hel"].concat(), NOTHING);
        assert!(framing.is_owed(parsed(2, Body::Exact(5), false)));
        framing.receive(b"l", parsed(2, Body::Exact(5), true));
        assert!(framing.is_owed(parsed(2, Body::Exact(5), true)));
    }

    /// Z8: nor is data taken for a head's end and the last chunk, when only the rest of the head comes by itself.
    #[test]
    fn the_rest_of_a_pipelined_head_is_no_head() {
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked";
        let mut framing = Framing::default();
        framing.receive(&[b"GET / HTTP/1.1\r\n\r\n", &chunked[..]].concat(), NOTHING);
        let got = parsed(1, Body::None, true);
        framing.receive(b"\r\n\r\nf\r\na\r\n\r\n0\r\n\r\n", got);
        assert!(framing.is_owed(parsed(2, Body::Chunked, false)));
    }

    /// Z8: empty lines before a head are none of it.
    #[test]
    fn empty_lines_end_no_head() {
        let mut framing = Framing::default();
        framing.receive(b"\r\n\r\n", NOTHING);
        framing.receive(HEAD, NOTHING);
        assert!(framing.is_owed(parsed(1, Body::Exact(5), true)));
    }

    /// Z8: a body that is read after its answer is no head.
    #[test]
    fn the_rest_of_a_refused_body_is_not_waited_for_twice() {
        let refused = parsed(1, Body::Exact(5), true);
        let mut framing = Framing::default();
        framing.receive(HEAD, NOTHING);
        framing.receive(b"hello", refused);
        assert!(!framing.is_owed(refused));
    }

    #[test]
    fn lines_may_end_with_lf_alone() {
        let mut framing = Framing::default();
        framing.receive(b"POST / HTTP/1.1\nContent-Length: 5\n\nhello", NOTHING);
        assert!(!framing.is_owed(parsed(1, Body::Exact(5), false)));
    }

    #[test]
    fn knows_http2_by_its_preface() {
        for cut in 0..PREFACE.len() {
            let mut framing = Framing::default();
            framing.receive(&PREFACE[..cut], NOTHING);
            assert_eq!(framing.is_http2(), cut >= 3);
            assert!(!framing.is_http2_for_good());
            framing.receive(&PREFACE[cut..], NOTHING);
            assert!(framing.is_http2() && framing.is_http2_for_good());
        }
    }

    /// Z2 Z4: a method that begins as the preface does is HTTP/1's.
    #[test]
    fn takes_no_method_for_the_preface() {
        for method in ["PROPFIND", "PRINT", "PRI"] {
            let message = format!("{method} / HTTP/1.1\r\n\r\n");
            for cut in 0..message.len() {
                let mut framing = Framing::default();
                framing.receive(&message.as_bytes()[..cut], NOTHING);
                framing.receive(&message.as_bytes()[cut..], NOTHING);
                assert!(!framing.is_http2(), "{message:?} cut at {cut}");
            }
        }
    }
}
