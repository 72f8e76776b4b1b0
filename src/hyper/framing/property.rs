//! What [`Framing`] must conclude from any bytes in any reads, compared with httparse, which reads
//! all of the stream at once.
#![cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "fuzzing reaches it"))]

use super::{Body, Framing, PREFACE};

/// Feeds `stream` to a [`Framing`] and to a stand-in for hyper, in reads that `turns` describe: the
/// low bits say how many bytes a read takes, and the high bit whether it ends with the answer to
/// whatever is unanswered. Panics if the two disagree.
pub fn check(stream: &[u8], turns: &[u8]) {
    let mut framing = Framing::default();
    let mut hyper = Hyper::new(stream);
    let mut turns = turns.iter().chain(std::iter::repeat(&u8::MAX));
    while hyper.end < stream.len() {
        let turn = turns.next().copied().unwrap_or(u8::MAX);
        let read = usize::from(turn & 0x7f) + 1;
        let bytes = &stream[hyper.end..stream.len().min(hyper.end + read)];
        framing.receive(bytes);
        if hyper
            .read(bytes.len(), turn & 0x80 != 0, &mut framing)
            .is_err()
        {
            return;
        }

        // A peer of HTTP/1 taken for one of HTTP/2 would lose its next request.
        let preface = hyper.end.min(PREFACE.len());
        let http2 = preface >= 3 && stream[..preface] == PREFACE[..preface];
        assert_eq!(framing.position().is_http2(), http2);
        assert_eq!(
            framing.position().is_http2_for_good(),
            http2 && preface == PREFACE.len()
        );
        assert_eq!(
            framing.position().is_in_body(),
            hyper.whole.is_none() && !http2
        );
        let frames = stream[..hyper.end].get(PREFACE.len()..).filter(|_| http2);
        let begun = frames.map_or(hyper.is_head_begun() && !http2, is_http2_head_begun);
        assert_eq!(framing.position().is_head_begun(), begun);
    }
}

/// What hyper makes of the bytes up to `end`.
struct Hyper<'a> {
    stream: &'a [u8],
    end: usize,
    /// Whether all requests whose head has been parsed have been answered.
    answered: bool,
    /// Where the last request's body begins.
    begin: usize,
    /// How the end of that body is recognised.
    body: Body,
    /// Where that body ends, once its end has arrived.
    whole: Option<usize>,
}

/// hyper gives the connection up, or what it does is unspecified.
struct Over;

impl<'a> Hyper<'a> {
    fn new(stream: &'a [u8]) -> Self {
        Self {
            stream,
            end: 0,
            answered: true,
            begin: 0,
            body: Body::None,
            whole: Some(0),
        }
    }

    /// Returns whether anything but empty lines has arrived after the last request.
    fn is_head_begun(&self) -> bool {
        let next = self.whole.unwrap_or(self.end);
        let blank = |byte: &u8| matches!(byte, b'\r' | b'\n');
        !self.stream[next..self.end].iter().all(blank)
    }

    fn read(&mut self, length: usize, answer: bool, framing: &mut Framing) -> Result<(), Over> {
        self.end += length;
        loop {
            if self.whole.is_none() {
                self.whole = self.end_of_body()?;
            }
            let Some(next) = self.whole.filter(|_| self.answered) else {
                break;
            };
            let Some((length, body)) = head(&self.stream[next..self.end])? else {
                break;
            };
            framing.parsed(body);
            self.begin = next + length;
            self.body = body;
            self.whole = None;
            self.answered = answer;
        }
        self.answered |= answer;
        Ok(())
    }

    fn end_of_body(&self) -> Result<Option<usize>, Over> {
        let came = &self.stream[self.begin..self.end];
        let length = match self.body {
            Body::None => Some(0),
            Body::Exact(length) => usize::try_from(length).ok(),
            Body::Chunked => chunks(came)?,
        };
        Ok(length
            .filter(|&length| length <= came.len())
            .map(|length| self.begin + length))
    }
}

/// Returns whether a head of HTTP/2 has begun in the frames behind the preface, and has not ended.
fn is_http2_head_begun(mut frames: &[u8]) -> bool {
    let mut open = false;
    let mut first = true;
    loop {
        open = match *frames {
            [] => return open,
            [_] | [_, _] | [_, _, _] => return open || !first,
            [a, b, c, kind, ref rest @ ..] => {
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                let head = kind == 1 || open && kind == 9;
                let Some(next) = rest.get(5 + length..) else {
                    return open || head;
                };
                frames = next;
                if head { rest[0] & 4 == 0 } else { open }
            }
        };
        first = false;
    }
}

/// Returns the length of a head, and the body that it announces, once it has arrived.
fn head(bytes: &[u8]) -> Result<Option<(usize, Body)>, Over> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Over),
    };
    let values = |name: &'static str| {
        let named = move |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        request
            .headers
            .iter()
            .filter(named)
            .map(|header| header.value)
    };
    let body = match (
        values("transfer-encoding").next_back(),
        values("content-length").next(),
    ) {
        _ if request.method == Some("CONNECT") => return Err(Over),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Body::Chunked,
        (Some(_), _) => return Err(Over),
        (None, None) => Body::None,
        (None, Some(_)) if values("content-length").count() > 1 => return Err(Over),
        (None, Some(digits)) => match number(digits, 10)? {
            0 => Body::None,
            length => Body::Exact(length),
        },
    };
    Ok(Some((length, body)))
}

/// Returns the length of a chunked body, once its end has arrived.
fn chunks(bytes: &[u8]) -> Result<Option<usize>, Over> {
    let mut at = 0;
    let line = |at: usize| {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(length) = rest.iter().position(|&byte| byte == b'\r') else {
            return Ok(None);
        };
        match rest.get(length + 1) {
            None => Ok(None),
            Some(b'\n') => Ok(Some(&rest[..length])),
            Some(_) => Err(Over),
        }
    };
    while let Some(size) = line(at)? {
        at += size.len() + 2;
        let digits = size.split(|&byte| byte == b';').next().unwrap_or(size);
        match usize::try_from(number(digits, 16)?) {
            Ok(0) => {
                while let Some(trailer) = line(at)? {
                    at += trailer.len() + 2;
                    if trailer.is_empty() {
                        return Ok(Some(at));
                    }
                }
                return Ok(None);
            }
            Ok(size) => at = at.checked_add(size).ok_or(Over)?,
            Err(_) => return Err(Over),
        }
        match bytes.get(at..).unwrap_or_default() {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => at += 2,
            _ => return Err(Over),
        }
    }
    Ok(None)
}

fn number(digits: &[u8], radix: u32) -> Result<u64, Over> {
    let digits = std::str::from_utf8(digits).map_err(|_| Over)?;
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(Over);
    }
    u64::from_str_radix(digits, radix).map_err(|_| Over)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::PREFACE;

    /// Parts of requests: streams of them get further than streams of bytes do.
    const PARTS: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\n",
        b"PRINT / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 40\r\n",
        b"Content-Length: 5\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"hello",
        b"5\r\nhello\r\n",
        b"4\r\n\r\n\r\n\r\n",
        b"0\r\n",
        b"0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI ",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x03\x01\x01\0\0\0\x01abc",
        b"\0\0\x02\x09\0\0\0\0\x01ab",
        b"\0\0\x01\x09\x04\0\0\0\x01a",
        b"\0\0\x02\0\x04\0\0\0\x01ab",
    ];

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let request = prop_oneof![
            3 => Just(&b"GET / HTTP/1.1\r\n\r\n"[..]),
            3 => Just(&b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"[..]),
            3 => Just(&b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"[..]),
            2 => Just(&b"POST / HTTP/1.1\nContent-Length: 40\n\n"[..]),
            3 => prop::sample::select(PARTS),
        ];
        let begin = prop_oneof![9 => Just(&b""[..]), 1 => Just(&PREFACE[..])];
        (begin, prop::collection::vec(request, 0..8))
            .prop_map(|(begin, parts)| [begin, &parts.concat()].concat())
    }

    proptest! {
        /// Z2 Z4 Z8: however the bytes are cut into reads, and whenever they are answered.
        #[test]
        fn framing_agrees_with_a_reading_of_the_whole(
            stream in stream(),
            turns in prop::collection::vec(any::<u8>().prop_map(|turn| turn & 0x9f), 0..40),
        ) {
            super::check(&stream, &turns);
        }

        #[test]
        fn framing_takes_any_bytes(stream in prop::collection::vec(any::<u8>(), 0..200), turns in prop::collection::vec(any::<u8>(), 0..40)) {
            super::check(&stream, &turns);
        }
    }
}
