/// A chunked body that is being read for its end, by the rules of hyper, which checks whether it is
/// well formed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunks {
    /// In the digits of a chunk's size, which amount to this so far.
    Size(u64),
    /// In what follows the size on its line.
    Extension(u64),
    SizeLf(u64),
    /// In a chunk, of which and of the line end after it this many bytes are left.
    Data(u64),
    /// At the start of a line after the last chunk.
    Trailers,
    /// In such a line.
    Trailer,
    TrailerLf,
    LastLf,
    /// Malformed: it has no end.
    Broken,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl Chunks {
    /// Reads to the end of the body; returns what follows it, or `None` if the end has not arrived.
    pub(super) fn receive<'b>(&mut self, mut bytes: &'b [u8]) -> Option<&'b [u8]> {
        while let [byte, rest @ ..] = bytes {
            *self = match (*self, byte) {
                (Self::Data(left), _) => {
                    let length = usize::try_from(left).map_or(bytes.len(), |n| n.min(bytes.len()));
                    bytes = &bytes[length..];
                    match left - length as u64 {
                        0 => *self = Self::default(),
                        left => *self = Self::Data(left),
                    }
                    continue;
                }
                (Self::Size(size) | Self::Extension(size), b'\r') => Self::SizeLf(size),
                (Self::Size(size), b';' | b' ' | b'\t') => Self::Extension(size),
                (Self::Size(size), digit) => char::from(*digit)
                    .to_digit(16)
                    .and_then(|digit| size.checked_mul(16)?.checked_add(digit.into()))
                    .map_or(Self::Broken, Self::Size),
                (Self::SizeLf(0) | Self::TrailerLf, b'\n') => Self::Trailers,
                (Self::SizeLf(size), b'\n') => size.checked_add(2).map_or(Self::Broken, Self::Data),
                (Self::LastLf, b'\n') => return Some(rest),
                (Self::SizeLf(_) | Self::TrailerLf | Self::LastLf, _) => Self::Broken,
                (Self::Trailers, b'\r') => Self::LastLf,
                (Self::Trailer, b'\r') => Self::TrailerLf,
                (Self::Trailers | Self::Trailer, _) => Self::Trailer,
                (same @ Self::Extension(_), _) => same,
                (Self::Broken, _) => return None,
            };
            bytes = rest;
        }
        None
    }
}
