/// A chunked body that is being read, by the rules of hyper, as far as its end goes. Whether it is well formed is hyper's
/// business.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunks {
    /// In the digits of a chunk's size, which are worth this much so far.
    Size(u64),
    /// In what follows them on the line.
    Extension(u64),
    SizeLf(u64),
    /// So much is left of a chunk and the line end after it.
    Data(u64),
    /// At the start of a line after the last chunk.
    Trailers,
    Trailer,
    TrailerLf,
    LastLf,
    /// Ended, with so many bytes after it.
    Ended(u64),
    /// No chunks, whose end will never come.
    Broken,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl Chunks {
    pub(super) fn receive(&mut self, mut bytes: &[u8]) {
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
                (Self::LastLf, b'\n') => Self::Ended(rest.len() as u64),
                (Self::SizeLf(_) | Self::TrailerLf | Self::LastLf, _) => Self::Broken,
                (Self::Trailers, b'\r') => Self::LastLf,
                (Self::Trailer, b'\r') => Self::TrailerLf,
                (Self::Trailers | Self::Trailer, _) => Self::Trailer,
                (Self::Ended(after), _) => Self::Ended(after + bytes.len() as u64),
                (same @ (Self::Extension(_) | Self::Broken), _) => same,
            };
            bytes = rest;
            if let Self::Ended(_) | Self::Broken = self {
                return;
            }
        }
    }
}
