/// The length of a frame's header: length (3 bytes), type, flags, stream (4).
const HEADER: usize = 9;
/// The length of the part of a header that tells the frame's type.
const TYPED: usize = 4;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The frames of HTTP/2 behind the preface, read for the heads in them (RFC 9113, 4.1, 6.2 and
/// 6.10). hyper checks whether they are well formed.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The header of the frame that is being read.
    header: [u8; HEADER],
    /// How many bytes of it have arrived.
    come: usize,
    /// How many bytes of its payload are left, once its header is complete.
    left: usize,
    /// Set once a frame is complete: the peer has sent its part of the handshake.
    greeted: bool,
    /// Set while a HEADERS frame is complete and the last frame of its head is not.
    open: bool,
}

impl Frames {
    pub(super) fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.come < HEADER {
                match bytes.split_first_chunk() {
                    Some((header, rest)) if self.come == 0 => {
                        (self.header, self.come, bytes) = (*header, HEADER, rest);
                    }
                    _ => {
                        let length = bytes.len().min(HEADER - self.come);
                        let come = self.come + length;
                        self.header[self.come..come].copy_from_slice(&bytes[..length]);
                        (self.come, bytes) = (come, &bytes[length..]);
                        if come < HEADER {
                            return;
                        }
                    }
                }
                let [a, b, c, ..] = self.header.map(usize::from);
                self.left = a << 16 | b << 8 | c;
            }
            let length = bytes.len().min(self.left);
            (self.left, bytes) = (self.left - length, &bytes[length..]);
            if self.left > 0 {
                return;
            }
            let [_, _, _, kind, flags, ..] = self.header;
            if kind == HEADERS || kind == CONTINUATION && self.open {
                self.open = flags & END_HEADERS == 0;
            }
            self.come = 0;
            self.greeted = true;
        }
    }

    /// Returns whether the peer has yet to send the end of its first frame, which belongs to the
    /// handshake like the preface.
    pub(super) fn is_greeting(&self) -> bool {
        !self.greeted
    }

    /// Returns whether a head has begun and its end has not arrived.
    pub(super) fn is_in_head(&self) -> bool {
        self.open || self.come >= TYPED && self.header[TYPED - 1] == HEADERS
    }

    /// Returns whether bytes of a frame have arrived, but not its type: they may begin a head,
    /// unless it is the first frame, which is SETTINGS.
    pub(super) fn may_be_in_head(&self) -> bool {
        (1..TYPED).contains(&self.come) && self.greeted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: u8 = 4;
    const DATA: u8 = 0;
    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).expect("a short frame");
        [&[0, 0, length, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// Z4 Z13: a head lasts from the first byte that may belong to a HEADERS frame to the last byte
    /// of the frame that ends it, however the bytes are cut into reads.
    #[test]
    fn a_head_of_http2_lasts_until_its_last_frame_is_whole() {
        // Each with whether it is part of a head, and whether it leaves that head open.
        let frames = [
            (frame(SETTINGS, 0, &[0; 6]), false, false),
            (frame(HEADERS, END_HEADERS, b"abc"), true, false),
            (frame(DATA, END_HEADERS, &[HEADERS; 40]), false, false),
            (frame(HEADERS, 1, b"abc"), true, true),
            (frame(CONTINUATION, 0, b""), true, true),
            (frame(CONTINUATION, END_HEADERS, b"ab"), true, false),
            (frame(PING, 0, &[0; 8]), false, false),
            (frame(CONTINUATION, 0, b"a"), false, false),
            (frame(HEADERS, END_HEADERS, b""), true, false),
        ];
        let mut stream = Vec::new();
        // Whether a head is open, and whether it may be, after each number of bytes.
        let state = |frames: &Frames| (frames.is_in_head(), frames.may_be_in_head());
        let mut expected = vec![(false, false)];
        let mut open = false;
        for (index, (bytes, head, leaves)) in frames.iter().enumerate() {
            for come in 1..bytes.len() {
                let typed = come >= TYPED;
                expected.push((open || typed && *head, !typed && index > 0));
            }
            open = *leaves;
            expected.push((open, false));
            stream.extend_from_slice(bytes);
        }
        let first = frames[0].0.len();
        for start in 0..=stream.len() {
            for end in start..=stream.len() {
                let mut frames = Frames::default();
                frames.receive(&stream[..start]);
                assert_eq!(state(&frames), expected[start], "{start}");
                assert_eq!(frames.is_greeting(), start < first, "{start}");
                frames.receive(&stream[start..end]);
                assert_eq!(state(&frames), expected[end], "{start} {end}");
                assert_eq!(frames.is_greeting(), end < first, "{start} {end}");
            }
        }
        let mut frames = Frames::default();
        for (byte, expected) in stream.iter().zip(&expected[1..]) {
            frames.receive(&[*byte]);
            assert_eq!(state(&frames), *expected);
        }
    }
}
