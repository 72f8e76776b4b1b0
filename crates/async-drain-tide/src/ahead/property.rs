//! What [`Ahead`] must hand out of any stream in any reads: each byte once, in order, and none of
//! the next message. Trailers that are not ASCII are dropped.

use super::{Ahead, LONGEST_TRAILERS, blank, chunks::end_of_trailers, head::END};

/// What async-h1 does with its connection.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Step {
    Head,
    Body { length: Option<u16> },
    Upgrade,
    Read { size: u8 },
}

/// The part of a message, as offsets in the stream.
#[derive(Clone, Copy)]
struct Part {
    /// Empty lines before it are dropped.
    head: bool,
    /// Where its trailers begin: they are handed out once they have arrived whole.
    trailers: usize,
    /// How many bytes of the trailers are dropped.
    dropped: usize,
    end: usize,
}

const ALL: Part = Part {
    head: false,
    trailers: usize::MAX,
    dropped: 0,
    end: usize::MAX,
};

pub(crate) fn check(stream: &[u8], steps: &[Step]) {
    let mut ahead = Ahead::default();
    // The bytes before these offsets have arrived, and were handed out.
    let (mut arrived, mut out) = (0, 0);
    let mut part = head(stream, 0);
    for &step in steps {
        match step {
            Step::Head => {
                ahead.begin_head();
                part = head(stream, out);
            }
            Step::Body { length } => {
                ahead.begin_body(length.map(u64::from));
                part = match length {
                    Some(length) => Part {
                        end: out + usize::from(length),
                        ..ALL
                    },
                    None => chunked(stream, out),
                };
            }
            Step::Upgrade => {
                ahead.begin_upgrade();
                part = ALL;
            }
            Step::Read { size } => {
                let mut buf = vec![0; usize::from(size)];
                let mut length = ahead.take(&mut buf);
                if length == 0 && !ahead.is_over() {
                    let read = buf.len().min(stream.len() - arrived);
                    buf[..read].copy_from_slice(&stream[arrived..arrived + read]);
                    arrived += read;
                    length = ahead.keep(&mut buf, read);
                }
                if part.head {
                    out += blank(&stream[out..arrived]);
                    part.head = out == arrived;
                }
                if out == part.trailers && arrived >= part.end {
                    out += part.dropped;
                }
                assert_eq!(buf[..length], stream[out..out + length]);
                out += length;
                assert!(out <= part.end.min(arrived));
                if length == 0 && !buf.is_empty() {
                    let whole = arrived >= part.end || part.trailers > arrived;
                    let due = if whole { part.end } else { part.trailers };
                    assert_eq!(out, due.min(arrived), "nothing is held back");
                }
            }
        }
        if let Step::Head = step {
            out += blank(&stream[out..arrived]);
            part.head = out == arrived;
        }
        assert_eq!(ahead.is_empty(), arrived == out);
    }
}

fn head(stream: &[u8], start: usize) -> Part {
    let start = start + blank(&stream[start..]);
    let end = stream[start..].windows(4).position(|four| four == END);
    Part {
        head: true,
        end: end.map_or(usize::MAX, |end| start + end + 4),
        ..ALL
    }
}

fn is_followed_by_crlf(bytes: &[u8], chunk: usize) -> bool {
    bytes
        .get(chunk..)
        .is_some_and(|rest| rest.starts_with(b"\r\n"))
}

/// Reads the whole body at once. One that is malformed has no end, since async-h1 sees that by
/// itself.
fn chunked(stream: &[u8], start: usize) -> Part {
    let mut at = start;
    loop {
        let Some(line) = stream[at..].iter().position(|&byte| byte == b'\r') else {
            return ALL;
        };
        let size = &stream[at..at + line];
        if !size.iter().all(u8::is_ascii_hexdigit) || stream.get(at + line + 1) != Some(&b'\n') {
            return ALL;
        }
        at += line + 2;
        let size = std::str::from_utf8(size).expect("digits");
        match usize::from_str_radix(size, 16) {
            Ok(0) => break,
            Err(_) if size.is_empty() => break,
            Ok(size) if is_followed_by_crlf(&stream[at..], size) => at += size + 2,
            _ => return ALL,
        }
    }
    match end_of_trailers(&stream[at..]) {
        Some(end) => Part {
            trailers: at,
            dropped: if stream[at..at + end].is_ascii() {
                0
            } else {
                end - 1
            },
            end: at + end,
            ..ALL
        },
        None if stream.len() - at < LONGEST_TRAILERS => Part {
            trailers: at,
            ..ALL
        },
        None => ALL,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Step;

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Head),
            2 => prop::option::of(0..9_u16).prop_map(|length| Step::Body { length }),
            1 => Just(Step::Upgrade),
            6 => (0..12_u8).prop_map(|size| Step::Read { size }),
        ]
    }

    fn piece() -> impl Strategy<Value = &'static [u8]> {
        prop::sample::select(vec![
            &b"a"[..],
            b"\r",
            b"\n",
            b"\r\n",
            b"\r\n\r\n",
            b"0\r\n",
            b"0\r\n\r\n",
            b"1\r\na\r\n",
            b"2\r\n\r\n\r\n",
            b"f",
            // A chunk whose end is beyond what an offset can be.
            b"fffffffffffffff5\r\n",
            b"a: b\r\n",
            b"a: \xe9\r\n",
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_byte_is_lost_or_handed_out_early(
            stream in prop::collection::vec(piece(), 0..30),
            steps in prop::collection::vec(step(), 0..60),
        ) {
            super::check(&stream.concat(), &steps);
        }
    }
}
