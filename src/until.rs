//! The futures that wait for a phase, and how a plain thread waits for one (L1 L2).

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::future::FusedFuture;

use crate::{
    Drain, Guard, Observer, Phase,
    futures::{RunUntilAborting, RunUntilDraining},
    latch::{Desk, Waiter},
    park::Parker,
    sync::Arc,
    tree::Core,
};

/// Waits for `phase`; what the named futures share.
pub(crate) struct Until {
    /// None once the phase has been reached: it stays so.
    desk: Option<Arc<Desk>>,
    phase: Phase,
    /// Whether a poll has said so.
    answered: bool,
    waiter: Waiter,
}

impl Until {
    #[inline]
    pub(crate) fn new(core: &Core, phase: Phase) -> Self {
        Self {
            desk: (!core.latch.is(phase)).then(|| Arc::clone(core.latch.desk())),
            phase,
            answered: false,
            waiter: Waiter::default(),
        }
    }

    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = match &self.desk {
            None => Poll::Ready(()),
            Some(desk) => desk.poll(self.phase, &mut self.waiter, cx),
        };
        self.answered = polled.is_ready();
        polled
    }

    /// Returns whether the phase has been reached, without registering for it.
    #[inline]
    pub(crate) fn is_reached(&self) -> bool {
        (self.desk.as_ref()).is_none_or(|desk| desk.phase() >= self.phase)
    }

    /// How far the end has come, or that it has come far enough.
    fn phase(&self) -> Phase {
        (self.desk.as_ref()).map_or(self.phase, |desk| desk.phase())
    }
}

impl Drop for Until {
    #[inline]
    fn drop(&mut self) {
        if let Some(desk) = &self.desk {
            desk.leave(self.phase, &mut self.waiter);
        }
    }
}

macro_rules! until {
    ($(#[$doc:meta])* $name:ident, $phase:ident) => {
        $(#[$doc])*
        ///
        /// It is level-triggered: who comes late is answered at once, and so is every further poll. Dropping it
        /// loses nothing. It keeps no guard and no handle: it neither holds up the drain nor keeps it running.
        #[must_use = "futures do nothing unless polled, and `wait` must be called"]
        pub struct $name(Until);

        impl $name {
            #[inline]
            pub(crate) fn new(core: &Core) -> Self {
                Self(Until::new(core, Phase::$phase))
            }

            /// Returns whether the phase has been reached, without registering for it.
            #[inline]
            #[allow(dead_code)]
            pub(crate) fn is_reached(&self) -> bool {
                self.0.is_reached()
            }

            /// Blocks the thread until then; for threads that are no executor's.
            pub fn wait(self) {
                block_on(self, None);
            }

            /// Blocks the thread until then, for at most `limit`; returns whether the phase was reached.
            #[must_use = "whether the phase was reached in time"]
            pub fn wait_timeout(self, limit: Duration) -> bool {
                // A limit beyond what the clock can say is no limit.
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

        /// Terminated once it has answered, so that a loop over `select!` takes its branch once. A further poll is
        /// answered at once all the same.
        impl FusedFuture for $name {
            fn is_terminated(&self) -> bool {
                self.0.answered
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
    /// Resolves once lame duck or a later phase begins; made by [`Drain::until_lame_duck`](crate::Drain::until_lame_duck).
    UntilLameDuck, LameDuck
}
until! {
    /// Resolves once draining or a later phase begins; made by [`Drain::until_draining`](crate::Drain::until_draining).
    UntilDraining, Draining
}
until! {
    /// Resolves once aborting begins, or when the drain ended without it; made by
    /// [`Drain::until_aborting`](crate::Drain::until_aborting).
    UntilAborting, Aborting
}
until! {
    /// Resolves once draining has begun and no guard is left; made by
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
                UntilLameDuck::new(self.core())
            }

            /// Waits until draining begins.
            #[inline]
            pub fn until_draining(&self) -> UntilDraining {
                UntilDraining::new(self.core())
            }

            /// Waits until aborting begins, or until the drain has drained without it.
            #[inline]
            pub fn until_aborting(&self) -> UntilAborting {
                UntilAborting::new(self.core())
            }

            /// Waits until draining has begun and no guard is left, here or in any child.
            ///
            /// The future itself keeps no guard. A task that holds a guard while it waits for this
            /// waits for itself.
            #[inline]
            pub fn until_drained(&self) -> UntilDrained {
                UntilDrained::new(self.core())
            }

            /// Runs a future or a stream until draining begins.
            ///
            /// A future then yields `None`, and a stream ends; `inner` is dropped at that moment. The
            /// phase is read before each poll, so a stream that is always ready ends too.
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
            /// A future, or the last item of a stream, is then `Err(`[`Aborted`](crate::Aborted)`)`;
            /// `inner` is dropped at that moment.
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

#[cfg(feature = "net")]
impl UntilDraining {
    pub(crate) fn phase(&self) -> Phase {
        self.0.phase()
    }
}

/// Runs `future` on this thread until it is ready (true) or `deadline` has passed (false).
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

    /// Whenever the wake comes, before the thread sleeps or after.
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

    /// A thread that waits sleeps: it looks when it is woken and when its time is up.
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
