/// The position in a chunked body, by the rules of async-h1's decoder: no extensions, no spaces,
/// and CR LF at the end of every line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunks {
    /// In the line that gives the chunk's size, which amounts to this so far.
    Size(u64),
    /// Before the LF of that line.
    SizeEnd(u64),
    /// In a chunk, of which this many bytes are left.
    Data(u64),
    /// Behind a chunk, before this byte of its CR LF.
    DataEnd(u8),
    /// Behind the last chunk: the trailers follow.
    Trailers,
    /// At bytes that async-h1 rejects.
    Malformed,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl Chunks {
    /// Reads up to the trailers, and returns how many of `bytes` come before them.
    pub(super) fn read(&mut self, bytes: &[u8]) -> usize {
        let mut read = 0;
        while read < bytes.len() {
            if let Self::Data(left) = self {
                let available = bytes.len() - read;
                let length = usize::try_from(*left).map_or(available, |left| left.min(available));
                *left -= length as u64;
                read += length;
                if *left == 0 {
                    *self = Self::DataEnd(b'\r');
                }
                continue;
            }
            *self = self.then(bytes[read]);
            read += 1;
            if let Self::Trailers | Self::Malformed = self {
                break;
            }
        }
        read
    }

    /// Returns the position behind `byte` in the lines between the chunks.
    fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Size(size), b'\r') => Self::SizeEnd(size),
            (Self::Size(size), _) => {
                let digit = char::from(byte).to_digit(16);
                let size = digit.and_then(|digit| size.checked_mul(16)?.checked_add(digit.into()));
                size.map_or(Self::Malformed, Self::Size)
            }
            (Self::SizeEnd(0), b'\n') => Self::Trailers,
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataEnd(b'\r'), b'\r') => Self::DataEnd(b'\n'),
            (Self::DataEnd(b'\n'), b'\n') => Self::default(),
            _ => Self::Malformed,
        }
    }
}

/// Finds the end of the trailers: an empty line. As in httparse, a line may end with LF alone.
pub(super) fn end_of_trailers(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        end += line.len();
        if line == b"\r\n" || line == b"\n" {
            return Some(end);
        }
    }
    None
}
