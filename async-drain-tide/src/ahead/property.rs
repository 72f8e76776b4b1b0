//! What [`Ahead`] must hand out of any stream in any reads: each byte once, in order, and none of the next message.

use super::{Ahead, END};

/// What async-h1 does with its connection.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Step {
    Head,
    Body { length: Option<u16> },
    Upgrade,
    Read { size: u8 },
}

pub(crate) fn check(stream: &[u8], steps: &[Step]) {
    let mut ahead = Ahead::default();
    // So many bytes have come, so many have been handed out, and the present message's part ends there.
    let (mut come, mut out) = (0, 0);
    let mut end = end_of_head(stream, 0);
    for &step in steps {
        match step {
            Step::Head => {
                ahead.begin_head();
                end = end_of_head(stream, out);
            }
            Step::Body { length } => {
                ahead.begin_body(length.map(u64::from));
                end = length.map_or(usize::MAX, |length| out + usize::from(length));
            }
            Step::Upgrade => {
                ahead.begin_upgrade();
                end = usize::MAX;
            }
            Step::Read { size } => {
                let mut buf = vec![0; usize::from(size)];
                let length = if come > out {
                    let length = buf.len().min(come - out).min(end - out);
                    assert_eq!(ahead.take(&mut buf), length);
                    length
                } else {
                    let read = buf.len().min(stream.len() - come);
                    buf[..read].copy_from_slice(&stream[come..come + read]);
                    come += read;
                    let length = read.min(end - out);
                    assert_eq!(ahead.keep(&buf[..read]), length);
                    length
                };
                assert_eq!(buf[..length], stream[out..out + length]);
                out += length;
            }
        }
        assert_eq!(ahead.is_empty(), come == out);
    }
}

fn end_of_head(stream: &[u8], start: usize) -> usize {
    let end = stream[start..].windows(4).position(|four| four == END);
    end.map_or(usize::MAX, |end| start + end + 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Step;

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Head),
            1 => prop::option::of(0..9_u16).prop_map(|length| Step::Body { length }),
            1 => Just(Step::Upgrade),
            4 => (0..12_u8).prop_map(|size| Step::Read { size }),
        ]
    }

    proptest! {
        #[test]
        fn no_byte_of_the_next_message_is_handed_out(
            stream in prop::collection::vec(prop::sample::select(&b"a\r\n\r\n\r\n"[..]), 0..60),
            steps in prop::collection::vec(step(), 0..40),
        ) {
            super::check(&stream, &steps);
        }
    }
}
