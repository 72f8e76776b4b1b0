#[cfg(any(test, fuzzing))]
pub(crate) mod property;

/// Keeps what has been read beyond the present message.
///
/// async-h1 reads each message through a new buffer and forgets what is left in the old one: the next request of a peer
/// that does not wait for answers. So it is handed no byte of the next message.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    kept: Vec<u8>,
    part: Part,
}

/// What async-h1 is reading.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// The head, of whose end so many bytes have come.
    Head(usize),
    /// So many more bytes of a body.
    Body(u64),
    /// Whatever there is: the chunks of a body, or what follows an upgrade.
    All,
}

impl Default for Part {
    fn default() -> Self {
        Self::Head(0)
    }
}

/// The end of a head, as async-h1 knows it.
const END: &[u8; 4] = b"\r\n\r\n";

impl Ahead {
    /// The next message begins.
    pub(crate) fn begin_head(&mut self) {
        self.part = Part::Head(0);
    }

    /// The head is read; a body of this length follows, or of one that only its chunks tell.
    pub(crate) fn begin_body(&mut self, length: Option<u64>) {
        self.part = length.map_or(Part::All, Part::Body);
    }

    /// The rest is no message.
    pub(crate) fn begin_upgrade(&mut self) {
        self.part = Part::All;
    }

    /// Whether part of the next message has already come.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Hands out what was kept.
    pub(crate) fn take(&mut self, buf: &mut [u8]) -> usize {
        let length = buf.len().min(self.kept.len());
        buf[..length].copy_from_slice(&self.kept[..length]);
        let length = self.admit(&buf[..length]);
        self.kept.drain(..length);
        length
    }

    /// Keeps what of `read` is not of the present message; returns how much is.
    pub(crate) fn keep(&mut self, read: &[u8]) -> usize {
        let length = self.admit(read);
        self.kept.extend_from_slice(&read[length..]);
        length
    }

    /// How many of `bytes` are of the present message.
    fn admit(&mut self, bytes: &[u8]) -> usize {
        match &mut self.part {
            Part::All => bytes.len(),
            Part::Body(left) => {
                let length =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= length as u64;
                length
            }
            Part::Head(matched) => {
                for (index, &byte) in bytes.iter().enumerate() {
                    *matched = match byte {
                        byte if byte == END[*matched] => *matched + 1,
                        b'\r' => 1,
                        _ => 0,
                    };
                    if *matched == END.len() {
                        self.part = Part::Body(0);
                        return index + 1;
                    }
                }
                bytes.len()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n";

    /// Reads all of `input` in reads of `size` bytes; the head ends where it ends, and so does the body.
    #[test]
    fn hands_out_no_byte_of_the_next_message() {
        let input = [HEAD, b"hello", HEAD, b"world"].concat();
        for size in 1..input.len() {
            let mut ahead = Ahead::default();
            let mut reads = input.chunks(size);
            for body in [b"hello", b"world"] {
                ahead.begin_head();
                assert_eq!(read(&mut ahead, &mut reads, HEAD.len()), HEAD, "{size}");
                ahead.begin_body(Some(5));
                assert_eq!(read(&mut ahead, &mut reads, 5), body, "{size}");
            }
            assert!(ahead.is_empty());
        }
    }

    #[test]
    fn hands_out_all_of_chunks_and_upgrades() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.keep(&[HEAD, b"5\r\n"].concat()), HEAD.len());
        ahead.begin_body(None);
        let mut buf = [0; 8];
        assert_eq!(ahead.take(&mut buf), 3);
        assert_eq!(ahead.keep(b"hello\r\n0\r\n\r\n"), 12);
        ahead.begin_upgrade();
        assert_eq!(ahead.keep(HEAD), HEAD.len());
    }

    #[test]
    fn knows_an_end_that_begins_twice() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.keep(b"a\r\n\r\r\n\r\nb"), 8);
    }

    fn read<'a>(
        ahead: &mut Ahead,
        reads: &mut impl Iterator<Item = &'a [u8]>,
        length: usize,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < length {
            let mut buf = [0; 16];
            let kept = ahead.take(&mut buf);
            out.extend_from_slice(&buf[..kept]);
            if kept == 0 {
                let read = reads.next().expect("more input");
                let fresh = ahead.keep(read);
                out.extend_from_slice(&read[..fresh]);
            }
        }
        out
    }
}
