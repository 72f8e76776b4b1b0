/// Where an HTTP/1 request's head ends in what was read: enough to tell, when the connection is closed, whether the peer
/// has sent all of its last request's body. The heads themselves are hyper's business.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// How many requests had been read when this one's bytes began.
    requests: usize,
    /// The last bytes, oldest first: enough to find an end that is spread over two reads.
    tail: [u8; 4],
    head: Head,
    /// How many bytes have come in all, until it is known which protocol it is.
    preface: usize,
    not_http2: bool,
}

#[derive(Debug, Default)]
enum Head {
    #[default]
    Open,
    /// Ended, with so many bytes after it.
    Ended(u64),
}

const END: &[u8; 4] = b"\r\n\r\n";
/// No method of HTTP/1 begins like this, as RFC 9113 has seen to.
const HTTP2: &[u8; 3] = b"PRI";

impl Framing {
    /// Takes in `bytes`. `requests` heads have been parsed before, and all of them are `answered` or not.
    pub(super) fn receive(&mut self, bytes: &[u8], requests: usize, answered: bool) {
        for &byte in bytes
            .iter()
            .take(HTTP2.len() - self.preface.min(HTTP2.len()))
        {
            self.not_http2 |= byte != HTTP2[self.preface];
            self.preface += 1;
        }
        if answered && requests != self.requests {
            self.requests = requests;
            self.tail = [0; 4];
            self.head = Head::Open;
        }
        let after_head = match &mut self.head {
            Head::Ended(after) => {
                *after += bytes.len() as u64;
                None
            }
            Head::Open => end_of_head(self.tail, bytes),
        };
        if let Some(after) = after_head {
            self.head = Head::Ended(after as u64);
        }
        self.tail = last_four(self.tail, bytes);
    }

    /// Whether the connection began as HTTP/2 does.
    pub(super) fn is_http2(&self) -> bool {
        self.preface == HTTP2.len() && !self.not_http2
    }

    /// How many bytes have come after the last head. Of a pipelined request, whose head came with the one before, none
    /// are known.
    pub(super) fn body(&self) -> u64 {
        match self.head {
            Head::Open => 0,
            Head::Ended(after) => after,
        }
    }

    /// Whether the last bytes may be the end of a chunked body. Data that looks so costs no more than a close that does
    /// not linger.
    pub(super) fn may_end_chunks(&self) -> bool {
        self.tail == *END
    }
}

/// How many of `bytes`, which follow `tail`, come after the end of a head.
fn end_of_head(tail: [u8; 4], bytes: &[u8]) -> Option<usize> {
    // An end that began in the tail; there is none before the first bytes of a head.
    let mut window = tail;
    let begun = if tail == [0; 4] { 0 } else { END.len() - 1 };
    for (index, &byte) in bytes.iter().take(begun).enumerate() {
        window.rotate_left(1);
        window[3] = byte;
        if window == *END {
            return Some(bytes.len() - index - 1);
        }
    }
    // Where the last byte of an end may be. One that is no part of it rules out the next four.
    let mut last = END.len() - 1;
    while let Some(&byte) = bytes.get(last) {
        last += match byte {
            b'\n' if bytes[last - 3..=last] == *END => return Some(bytes.len() - last - 1),
            b'\n' => 2,
            b'\r' => 1,
            _ => 4,
        };
    }
    None
}

fn last_four(tail: [u8; 4], bytes: &[u8]) -> [u8; 4] {
    if let Some(last) = bytes.last_chunk() {
        return *last;
    }
    let mut window = tail;
    for &byte in bytes {
        window.rotate_left(1);
        window[3] = byte;
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n";

    #[test]
    fn finds_the_body_however_the_bytes_are_cut() {
        let mut message = HEAD.to_vec();
        message.extend(b"hello");
        for cut in 0..message.len() {
            let mut framing = Framing::default();
            framing.receive(&message[..cut], 0, true);
            // hyper has parsed the head as soon as it was whole.
            let parsed = usize::from(cut >= HEAD.len());
            framing.receive(&message[cut..], parsed, parsed == 0);
            assert_eq!(framing.body(), 5, "cut at {cut}");
            assert!(!framing.is_http2());
        }
    }

    #[test]
    fn finds_the_first_end_as_one_who_looks_everywhere_would() {
        // All messages of nine bytes that matter.
        for number in 0..3_usize.pow(9) {
            let message: Vec<_> = (0..9)
                .map(|place| b"\r\nx"[number / 3_usize.pow(place) % 3])
                .collect();
            let end = message.windows(4).position(|window| window == END);
            let after = end.map(|start| message.len() - start - 4);
            assert_eq!(end_of_head([0; 4], &message), after, "{message:?}");
        }
    }

    #[test]
    fn begins_anew_with_the_next_request() {
        let mut framing = Framing::default();
        framing.receive(HEAD, 0, true);
        framing.receive(b"hello", 1, false);
        framing.receive(HEAD, 1, true);
        assert_eq!(framing.body(), 0);
        framing.receive(b"hel", 2, false);
        assert_eq!(framing.body(), 3);
    }

    #[test]
    fn knows_the_end_of_chunks() {
        let mut framing = Framing::default();
        framing.receive(HEAD, 0, true);
        framing.receive(b"5\r\nhello\r\n0", 1, false);
        assert!(!framing.may_end_chunks());
        framing.receive(b"\r\n\r\n", 1, false);
        assert!(framing.may_end_chunks());
    }

    #[test]
    fn knows_http2_by_its_preface() {
        for cut in 0..4 {
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
            let mut framing = Framing::default();
            framing.receive(&preface[..cut], 0, true);
            assert_eq!(framing.is_http2(), cut >= 3);
            framing.receive(&preface[cut..], 0, true);
            assert!(framing.is_http2());
        }
        let mut framing = Framing::default();
        framing.receive(b"PR", 0, true);
        framing.receive(b"OPFIND / HTTP/1.1\r\n\r\n", 0, true);
        assert!(!framing.is_http2());
    }
}
