//! Keeps the counts of an `Arc` off the cache lines of other data, without an alignment that every
//! value of the type would pay for.

#[cfg(not(any(loom, shuttle)))]
use std::ops::Deref;

/// Prefetchers of x86-64 and of large Arm cores fetch pairs of lines.
#[cfg(not(any(loom, shuttle)))]
const APART: usize = 128;
/// What the counts of an `Arc` take.
#[cfg(not(any(loom, shuttle)))]
const COUNTS: usize = 2 * size_of::<usize>();

/// Creates `n` pointers by `new`, each an `Arc`, and others whose values lie between and around
/// those in memory. If the caller keeps the others, and writes to none of their values, no other
/// data is nearer than 128 bytes to the counts of the former.
///
/// This asks for memory until it gets a row without gaps, which an allocator hands out sooner or
/// later. If it doesn't, the values are not apart: that costs time, and nothing else.
#[cfg(not(any(loom, shuttle)))]
pub(crate) fn isolated<P: Deref>(n: usize, mut new: impl FnMut() -> P) -> (Vec<P>, Vec<P>)
where
    P::Target: Sized,
{
    let size = COUNTS + size_of::<P::Target>();
    let between = APART.div_ceil(size);
    let whole = (n + 1) * between + n;
    let mut row: Vec<P> = Vec::with_capacity(whole);
    // Kept until the end, so as not to be handed out again.
    let mut others = Vec::new();
    for _ in 0..8 * whole {
        let next = new();
        let gapless = row.last().is_none_or(|last| {
            // Nothing that an allocator hands out fits into what is left.
            (1..size + 32).contains(&address(&next).wrapping_sub(address(last)))
        });
        if !gapless {
            others.append(&mut row);
        }
        row.push(next);
        if row.len() == whole {
            break;
        }
    }
    while row.len() < whole {
        row.push(new());
    }
    let (mut chosen, mut spacers) = (Vec::with_capacity(n), Vec::with_capacity(whole - n));
    for (index, value) in row.into_iter().enumerate() {
        if index % (between + 1) == between {
            chosen.push(value);
        } else {
            spacers.push(value);
        }
    }
    (chosen, spacers)
}

/// In a model, memory has no places.
#[cfg(any(loom, shuttle))]
pub(crate) fn isolated<P>(n: usize, new: impl FnMut() -> P) -> (Vec<P>, Vec<P>) {
    (std::iter::repeat_with(new).take(n).collect(), Vec::new())
}

#[cfg(not(any(loom, shuttle)))]
fn address<P: Deref>(pointer: &P) -> usize
where
    P::Target: Sized,
{
    std::ptr::from_ref(&**pointer).addr()
}

#[cfg(all(test, not(any(loom, shuttle, miri))))]
mod tests {
    use std::sync::Arc;

    use super::{APART, address, isolated};

    /// C1: the counts of no two values share a cache line.
    #[test]
    fn isolated_values_are_apart() {
        let (chosen, spacers) = isolated(8, || Arc::new([0_u64; 4]));
        assert_eq!(chosen.len(), 8);
        let mut all: Vec<_> = chosen.iter().chain(&spacers).map(address).collect();
        all.sort_unstable();
        for value in &chosen {
            let near = |other: &&usize| address(value).abs_diff(**other) < APART;
            // Itself, and those before and after it.
            assert!(all.iter().filter(near).count() >= 3);
            let apart = |other: &Arc<_>| address(value).abs_diff(address(other));
            assert!(
                chosen
                    .iter()
                    .all(|other| apart(other) == 0 || apart(other) >= APART)
            );
        }
    }
}
