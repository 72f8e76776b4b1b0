mod chunks;
mod head;
#[cfg(any(test, fuzzing))]
pub(crate) mod property;

use std::mem;

use self::{chunks::Chunks, head::Head};

/// Hands async-h1 the bytes of one message at a time, and keeps what was read beyond it.
///
/// async-h1 reads each message through a new buffer and drops the old one, with what it holds of
/// the next request. Its decoder of chunked bodies fails if anything follows the trailers in the
/// same read, and is never woken again if the trailers come in two reads. So async-h1 never gets a
/// byte of the next message, and gets the trailers in one piece.
///
/// http-types holds header values in ASCII only, and async-h1 panics at others: such trailers are
/// dropped, and such a head is not to be handed out.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Bytes that have arrived and that async-h1 doesn't have yet.
    kept: Vec<u8>,
    part: Part,
    /// Set once the head has a field that is not ASCII, until bytes of the next head arrive.
    beyond_ascii: bool,
}

/// The part of a message that async-h1 is reading.
#[derive(Clone, Copy, Debug, Default)]
enum Part {
    /// Nothing of a head has arrived. Empty lines are dropped: they are not a request (RFC 9112,
    /// 2.2).
    #[default]
    Blank,
    Head(Head),
    /// This many more bytes of a body.
    Body(u64),
    Chunks(Chunks),
    /// Everything that arrives: what follows an upgrade, or framing that async-h1 will reject.
    All,
}

/// The longest trailer section that async-h1 accepts, which is also the size of its buffer.
const LONGEST_TRAILERS: usize = 8 * 1024;

impl Ahead {
    /// Begins the next message.
    pub(crate) fn begin_head(&mut self) {
        self.part = Part::Blank;
        let blank = blank(&self.kept);
        self.kept.drain(..blank);
    }

    /// Ends the head: a body of this length follows, or a chunked one.
    pub(crate) fn begin_body(&mut self, length: Option<u64>) {
        self.part = length.map_or(Part::Chunks(Chunks::default()), Part::Body);
    }

    /// Ends HTTP: all that follows belongs to the new protocol.
    pub(crate) fn begin_upgrade(&mut self) {
        self.part = Part::All;
    }

    /// Returns whether everything that has arrived has been handed out.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Returns whether the message has a head that is not complete.
    pub(crate) fn is_in_head(&self) -> bool {
        matches!(self.part, Part::Blank | Part::Head(_))
    }

    /// Returns whether all of the message has been handed out.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.part, Part::Body(0))
    }

    /// Returns whether the head has a field that is not ASCII: async-h1 must not get it.
    pub(crate) fn is_beyond_ascii(&self) -> bool {
        self.beyond_ascii
    }

    /// Hands out bytes that were kept, and returns how many.
    pub(crate) fn take(&mut self, buf: &mut [u8]) -> usize {
        let mut kept = mem::take(&mut self.kept);
        let (dropped, length) = self.admit(&kept, buf.len());
        buf[..length].copy_from_slice(&kept[dropped..dropped + length]);
        kept.drain(..dropped + length);
        self.kept = kept;
        length
    }

    /// Takes in the first `read` bytes of `buf`, leaves there what can be handed out now, and
    /// returns how much that is.
    pub(crate) fn keep(&mut self, buf: &mut [u8], read: usize) -> usize {
        if !self.kept.is_empty() {
            self.kept.extend_from_slice(&buf[..read]);
            return self.take(buf);
        }
        let (dropped, length) = self.admit(&buf[..read], read);
        self.kept.extend_from_slice(&buf[dropped + length..read]);
        buf.copy_within(dropped..dropped + length, 0);
        length
    }

    /// Returns how many of `bytes` are dropped, and how many of those after them belong to the
    /// message; at most `limit`.
    fn admit(&mut self, bytes: &[u8], limit: usize) -> (usize, usize) {
        let mut dropped = 0;
        if let Part::Blank = self.part {
            dropped = blank(bytes);
            if dropped == bytes.len() {
                return (dropped, 0);
            }
            self.part = Part::Head(Head::default());
        }
        let mut bytes = &bytes[dropped..];
        if let Part::Chunks(Chunks::Trailers) = self.part {
            match chunks::end_of_trailers(bytes) {
                // Trailers may be discarded (RFC 9112, 7.1.2): only the empty line is left.
                Some(end) if !bytes[..end].is_ascii() => {
                    dropped = end - 1;
                    bytes = &bytes[dropped..];
                    self.part = Part::Body(1);
                }
                Some(end) => self.part = Part::Body(end as u64),
                None if bytes.len() >= LONGEST_TRAILERS => self.part = Part::All,
                None => return (dropped, 0),
            }
        }
        let bytes = &bytes[..bytes.len().min(limit)];
        let length = match &mut self.part {
            Part::Blank | Part::All => bytes.len(),
            Part::Body(left) => {
                let length =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= length as u64;
                length
            }
            Part::Head(head) => {
                let end = head.read(bytes);
                self.beyond_ascii = head.beyond_ascii;
                if end.is_some() {
                    self.part = Part::Body(0);
                }
                end.unwrap_or(bytes.len())
            }
            Part::Chunks(chunks) => {
                let length = chunks.read(bytes);
                if let Chunks::Malformed = chunks {
                    self.part = Part::All;
                    bytes.len()
                } else {
                    length
                }
            }
        };
        (dropped, length)
    }
}

/// Returns the length of the empty lines at the start.
fn blank(bytes: &[u8]) -> usize {
    let begun = bytes.iter().position(|byte| !b"\r\n".contains(byte));
    begun.unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
    const CHUNKS: &[u8] = b"5\r\nhello\r\n1F\r\n0123456789abcdefghijklmnopqrstu\r\n0\r\n";
    const TRAILERS: &[u8] = b"a: b\r\n\r\n";

    #[test]
    fn no_byte_of_the_next_message_is_handed_out_before_the_message_is_over() {
        let input = [HEAD, b"hello", b"\r\n", HEAD, b"world"].concat();
        for size in 1..input.len() {
            let mut reads = Reads::new(&input, size);
            for body in [b"hello", b"world"] {
                reads.ahead.begin_head();
                assert_eq!(reads.message(), HEAD, "{size}");
                reads.ahead.begin_body(Some(5));
                assert_eq!(reads.message(), body, "{size}");
            }
            assert!(reads.ahead.is_empty());
        }
    }

    #[test]
    fn a_request_behind_a_chunked_one_is_kept() {
        let input = [HEAD, CHUNKS, TRAILERS, HEAD].concat();
        for size in 1..input.len() {
            let mut reads = Reads::new(&input, size);
            reads.ahead.begin_head();
            assert_eq!(reads.message(), HEAD, "{size}");
            reads.ahead.begin_body(None);
            assert_eq!(reads.message(), [CHUNKS, TRAILERS].concat(), "{size}");
            reads.ahead.begin_head();
            assert_eq!(reads.message(), HEAD, "{size}");
        }
    }

    #[test]
    fn trailers_are_handed_out_in_one_piece() {
        let input = [HEAD, CHUNKS, TRAILERS].concat();
        for size in 1..input.len() {
            let mut reads = Reads::new(&input, size);
            reads.message();
            reads.ahead.begin_body(None);
            let mut pieces = reads.pieces();
            assert_eq!(pieces.pop().unwrap(), TRAILERS, "{size}");
            assert_eq!(pieces.concat(), CHUNKS, "{size}");
        }
    }

    #[test]
    fn malformed_chunks_and_trailers_without_end_are_left_to_async_h1() {
        for body in [
            b"5;name=value\r\nhello".to_vec(),
            [&b"0\r\n"[..], &[b'x'; LONGEST_TRAILERS]].concat(),
        ] {
            let mut reads = Reads::new(&body, 100);
            reads.ahead.begin_body(None);
            assert_eq!(reads.message(), body);
        }
    }

    #[test]
    fn all_that_follows_an_upgrade_is_handed_out() {
        let input = [HEAD, HEAD].concat();
        let mut reads = Reads::new(&input, 7);
        reads.message();
        reads.ahead.begin_upgrade();
        assert_eq!(reads.message(), HEAD);
    }

    #[test]
    fn empty_lines_before_a_head_are_dropped() {
        let mut ahead = Ahead::default();
        let mut buf = *b"\r\n\r\n\nGET";
        assert_eq!(ahead.keep(&mut buf, 4), 0);
        assert!(ahead.is_empty() && ahead.is_in_head());
        let read = buf.len();
        assert_eq!(ahead.keep(&mut buf, read), 3);
        assert_eq!(&buf[..3], b"GET");
    }

    #[test]
    fn an_end_of_head_that_begins_twice_is_recognised() {
        let mut ahead = Ahead::default();
        let mut buf = *b"a\r\n\r\r\n\r\nb";
        assert_eq!(ahead.keep(&mut buf, 9), 8);
    }

    /// Input that arrives in reads of one size.
    struct Reads<'a> {
        ahead: Ahead,
        input: &'a [u8],
        size: usize,
    }

    impl<'a> Reads<'a> {
        fn new(input: &'a [u8], size: usize) -> Self {
            let ahead = Ahead::default();
            Self { ahead, input, size }
        }

        /// Reads to the end of the current part of the message.
        fn message(&mut self) -> Vec<u8> {
            self.pieces().concat()
        }

        fn pieces(&mut self) -> Vec<Vec<u8>> {
            let mut pieces = Vec::new();
            while !self.ahead.is_over() {
                let mut buf = [0; 64];
                let mut length = self.ahead.take(&mut buf);
                if length == 0 {
                    let read = self.size.min(self.input.len()).min(buf.len());
                    if read == 0 {
                        break;
                    }
                    buf[..read].copy_from_slice(&self.input[..read]);
                    self.input = &self.input[read..];
                    length = self.ahead.keep(&mut buf, read);
                }
                if length > 0 {
                    pieces.push(buf[..length].to_vec());
                }
            }
            pieces
        }
    }
}
