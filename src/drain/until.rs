//! The futures that wait for a phase, and how a plain thread waits for one (L1 L2).

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc as StdArc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::future::FusedFuture;

use crate::{
    drain::{
        Drain, Observer,
        guard::Guard,
        latch::{WaitList, Waiter},
        node::Node,
        park::Parker,
        phase::Phase,
    },
    futures::{RunUntilAborting, RunUntilDraining},
};

/// Waits for `phase`; what the named futures share.
pub(crate) struct Until {
    /// `None` if the phase had been reached when this was created: it stays so.
    list: Option<StdArc<WaitList>>,
    phase: Phase,
    /// Set by a poll that found the phase reached.
    completed: bool,
    waiter: Waiter,
}

impl Until {
    #[inline]
    pub(crate) fn new(node: &StdArc<Node>, phase: Phase) -> Self {
        let list = if node.latch.is(phase) {
            None
        } else {
            // If there is none, the drain has drained since.
            Node::wait_list(node)
        };
        Self {
            list,
            phase,
            completed: false,
            waiter: Waiter::default(),
        }
    }

    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = match &self.list {
            None => Poll::Ready(()),
            Some(list) => list.poll(self.phase, &mut self.waiter, cx),
        };
        self.completed = polled.is_ready();
        polled
    }

    /// Returns whether the phase has been reached, without registering for it.
    #[inline]
    pub(crate) fn is_reached(&self) -> bool {
        (self.list.as_ref()).is_none_or(|list| list.reached(self.phase))
    }

    /// Returns the phase that the drain has reached or, if it was late, the one that was waited
    /// for.
    fn phase(&self) -> Phase {
        (self.list.as_ref()).map_or(self.phase, |list| list.phase())
    }
}

impl Drop for Until {
    #[inline]
    fn drop(&mut self) {
        if let Some(list) = &self.list {
            list.leave(self.phase, &mut self.waiter);
        }
    }
}

macro_rules! until {
    ($(#[$doc:meta])* $name:ident, $phase:ident) => {
        $(#[$doc])*
        ///
        /// It is level-triggered: if the phase has been reached, it completes at once, and so does
        /// every later poll. Dropping it loses nothing. It keeps neither a guard nor a handle, so
        /// it neither delays the drain nor keeps it running.
        #[must_use = "it waits only while it is polled, or in `wait`"]
        pub struct $name(Until);

        impl $name {
            #[inline]
            pub(crate) fn new(node: &StdArc<Node>) -> Self {
                Self(Until::new(node, Phase::$phase))
            }

            /// Returns whether the phase has been reached, without registering for it.
            #[inline]
            #[allow(dead_code, reason = "not every phase is looked at")]
            pub(crate) fn is_reached(&self) -> bool {
                self.0.is_reached()
            }

            /// Blocks the calling thread until the phase is reached. Don't call this on a thread of
            /// an executor.
            pub fn wait(self) {
                block_on(self, None);
            }

            /// Blocks the calling thread until the phase is reached, for at most `limit`; returns
            /// whether it was.
            ///
            /// A duration that overflows [`Instant`] means no limit.
            #[must_use = "it tells whether the phase was reached in time"]
            pub fn wait_timeout(self, limit: Duration) -> bool {
                block_on(self, Instant::now().checked_add(limit))
            }
        }

        impl Future for $name {
            type Output = ();

            #[inline]
            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                self.0.poll(cx)
            }
        }

        /// Terminated once it has completed, so that a loop over `select!` takes its branch once. A
        /// later poll completes at once all the same.
        impl FusedFuture for $name {
            fn is_terminated(&self) -> bool {
                self.0.completed
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("phase", &self.0.phase())
                    .finish_non_exhaustive()
            }
        }
    };
}

until! {
    /// Completes once lame duck or a later phase begins; returned by
    /// [`Drain::until_lame_duck`](crate::Drain::until_lame_duck).
    UntilLameDuck, LameDuck
}
until! {
    /// Completes once draining or a later phase begins; returned by
    /// [`Drain::until_draining`](crate::Drain::until_draining).
    UntilDraining, Draining
}
until! {
    /// Completes once aborting begins, or once the drain has drained without it; returned by
    /// [`Drain::until_aborting`](crate::Drain::until_aborting).
    UntilAborting, Aborting
}
until! {
    /// Completes once draining has begun and no guard is left; returned by
    /// [`Drain::until_drained`](crate::Drain::until_drained).
    UntilDrained, Drained
}

/// The methods of a drain, its observers and its guards that wait for a phase.
macro_rules! waits {
    ($($type:ident),*) => {$(
        impl $type {
            /// Waits until lame duck or a later phase begins.
            #[inline]
            pub fn until_lame_duck(&self) -> UntilLameDuck {
                UntilLameDuck::new(self.node())
            }

            /// Waits until draining begins.
            #[inline]
            pub fn until_draining(&self) -> UntilDraining {
                UntilDraining::new(self.node())
            }

            /// Waits until aborting begins, or until the drain has drained without it.
            #[inline]
            pub fn until_aborting(&self) -> UntilAborting {
                UntilAborting::new(self.node())
            }

            /// Waits until draining has begun and no guard is left, here or in any child.
            ///
            /// The future itself keeps no guard. A task that holds a guard while it waits for this
            /// waits for itself.
            #[inline]
            pub fn until_drained(&self) -> UntilDrained {
                UntilDrained::new(self.node())
            }

            /// Runs a future or a stream until draining begins.
            ///
            /// A future then yields `None`, and a stream ends; `inner` is dropped at that moment.
            /// The phase is read before each poll, so a stream that is always ready ends too.
            ///
            /// ```
            /// use async_drain::Drain;
            /// use futures_lite::{StreamExt, future::block_on, stream};
            ///
            /// let drain = Drain::new();
            /// let mut ticks = drain.run_until_draining(stream::repeat("tick"));
            /// assert_eq!(block_on(ticks.next()), Some("tick"));
            /// drain.begin();
            /// assert_eq!(block_on(ticks.next()), None);
            /// ```
            #[inline]
            pub fn run_until_draining<T>(&self, inner: T) -> RunUntilDraining<T> {
                RunUntilDraining::new(inner, self.until_draining())
            }

            /// Runs a future or a stream until aborting begins.
            ///
            /// A future, or the last item of a stream, is then
            /// `Err(`[`Aborted`](crate::Aborted)`)`; `inner` is dropped at that moment.
            ///
            /// ```
            /// use async_drain::Drain;
            /// use futures_lite::future::{block_on, pending};
            ///
            /// let drain = Drain::new();
            /// let guard = drain.guard()?;
            /// let work = guard.run_until_aborting(pending::<()>());
            /// drain.abort();
            /// assert!(block_on(work).is_err());
            /// # Ok::<(), async_drain::Drained>(())
            /// ```
            #[inline]
            pub fn run_until_aborting<T>(&self, inner: T) -> RunUntilAborting<T> {
                RunUntilAborting::new(inner, self.until_aborting())
            }
        }
    )*};
}

waits!(Drain, Observer, Guard);

impl UntilDraining {
    pub(crate) fn phase(&self) -> Phase {
        self.0.phase()
    }
}

/// Runs `future` on this thread; returns whether it completed before `deadline`.
fn block_on(future: impl Future<Output = ()>, deadline: Option<Instant>) -> bool {
    let mut future = pin!(future);
    let parker = Parker::default();
    let waker = parker.waker();
    let mut cx = Context::from_waker(&waker);
    loop {
        if future.as_mut().poll(&mut cx).is_ready() {
            return true;
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return false;
        }
        parker.park(deadline);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::{
        cell::Cell,
        future::poll_fn,
        sync::mpsc,
        task::{Poll, Waker},
        thread,
        time::{Duration, Instant},
    };

    use super::block_on;

    /// Whether the wake comes before the thread sleeps or after.
    #[test]
    fn a_waiting_thread_is_woken() {
        let (asks, asked) = mpsc::channel::<Waker>();
        let answers = thread::spawn(move || asked.recv().unwrap().wake());
        let mut looks = 0;
        let second_look = poll_fn(|cx| {
            looks += 1;
            if looks == 1 {
                asks.send(cx.waker().clone()).unwrap();
                return Poll::Pending;
            }
            Poll::Ready(())
        });
        assert!(block_on(second_look, None));
        answers.join().unwrap();
    }

    /// A thread that waits polls when it is woken and when its time is up, and sleeps in between.
    #[test]
    fn a_waiting_thread_does_not_spin() {
        let looks = Cell::new(0);
        let never = poll_fn(|_| {
            looks.set(looks.get() + 1);
            Poll::Pending
        });
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(!block_on(never, Some(deadline)));
        assert!(Instant::now() >= deadline);
        assert_eq!(looks.get(), 2);
    }
}
