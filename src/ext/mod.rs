//! Drains for futures, streams and sockets: one trait, a wrapper for each verb.

mod guarded;
mod take_until;

pub use guarded::Guarded;
pub use take_until::{Aborted, TakeUntilAborting, TakeUntilDraining};

use futures_core::Stream;
use futures_io::AsyncRead;

use crate::{Drain, Guard, UntilAborting, UntilDraining};

/// Carries guards, and ends in time: for futures, streams and futures-io objects.
///
/// `K` says which of the three it is, and is inferred. (Were the trait implemented for everything, it would come
/// before [`Drain::until_draining`] itself.) Something that is only written to is wrapped by
/// [`Guarded::new`].
///
/// ```
/// use async_drain::{Drain, DrainExt};
/// use futures_lite::{StreamExt, future::block_on, stream};
///
/// let drain = Drain::new();
/// let work = async { 42 }.guarded(drain.guard()?);
/// assert_eq!(block_on(work), 42);
///
/// let mut ticks = stream::repeat("tick").until_draining(&drain);
/// assert_eq!(block_on(ticks.next()), Some("tick"));
/// drain.begin();
/// assert_eq!(block_on(ticks.next()), None);
/// # Ok::<(), async_drain::Drained>(())
/// ```
pub trait DrainExt<K>: Sized {
    /// Carries `guard` until it is dropped, whether or not it has completed.
    fn guarded(self, guard: Guard) -> Guarded<Self> {
        Guarded::new(self, guard)
    }

    /// Ends once draining begins: a stream ends, and a future yields `None` and is dropped.
    ///
    /// The drain is looked at first, so a stream that is always ready ends too.
    fn until_draining(self, drain: &impl Phased) -> TakeUntilDraining<Self>
    where
        K: Endable,
    {
        TakeUntilDraining::new(self, drain.until_draining())
    }

    /// Cut once aborting begins: a future or the next item of a stream is `Err(`[`Aborted`]`)`, and what was running
    /// is dropped at that moment.
    fn until_aborting(self, drain: &impl Phased) -> TakeUntilAborting<Self>
    where
        K: Endable,
    {
        TakeUntilAborting::new(self, drain.until_aborting())
    }
}

/// [`DrainExt`] for a future.
#[derive(Debug)]
pub enum OfFuture {}
/// [`DrainExt`] for a stream.
#[derive(Debug)]
pub enum OfStream {}
/// [`DrainExt`] for something that is read from.
#[derive(Debug)]
pub enum OfReader {}

/// What can be ended early: futures and streams.
pub trait Endable {}
impl Endable for OfFuture {}
impl Endable for OfStream {}

/// What tells of a drain's phases: the [`Drain`], or a [`Guard`] of it.
pub trait Phased {
    /// Resolves once draining begins.
    fn until_draining(&self) -> UntilDraining;
    /// Resolves once aborting begins.
    fn until_aborting(&self) -> UntilAborting;
}

impl Phased for Drain {
    fn until_draining(&self) -> UntilDraining {
        Drain::until_draining(self)
    }

    fn until_aborting(&self) -> UntilAborting {
        Drain::until_aborting(self)
    }
}

impl Phased for Guard {
    fn until_draining(&self) -> UntilDraining {
        Guard::until_draining(self)
    }

    fn until_aborting(&self) -> UntilAborting {
        Guard::until_aborting(self)
    }
}

impl<F: Future> DrainExt<OfFuture> for F {}
impl<S: Stream> DrainExt<OfStream> for S {}
impl<R: AsyncRead> DrainExt<OfReader> for R {}
