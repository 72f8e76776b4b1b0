//! One drain over work that swansong counts, such as a trillium server's.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::swansong::{ShutdownCompletion, Swansong};

use crate::{Drain, Guard, futures::UntilDraining};

/// Shuts a swansong down when draining begins, and ends when it is complete; made by
/// [`Drain::drive`].
///
/// # Cancel safety
///
/// Dropping it gives up its guard: the drain no longer waits for the swansong, nor tells it
/// anything.
#[must_use = "futures do nothing unless polled"]
pub struct Drive {
    /// Given up once it has been shut down.
    swansong: Option<Swansong>,
    complete: ShutdownCompletion,
    draining: UntilDraining,
    /// Given up at the end.
    guard: Option<Guard>,
}

impl Drain {
    /// Lets `swansong` drain with this drain: when draining begins it is shut down, and until it is
    /// complete the drain is not drained.
    ///
    /// This gives trillium what it lacks: a grace period, a report, and one end for the server and
    /// all else. All that the swansong guards counts here as one piece of work. This call takes the
    /// guard for it, so make it before you spawn the drive. If other code shuts the swansong down,
    /// the drive ends, and the drain goes on running.
    ///
    /// swansong knows no abort. Work that it guards and that has not finished when aborting begins
    /// is waited for until the abort grace is over, and ends with the process; to give it up at
    /// once, drive with [`run_until_aborting`](Drain::run_until_aborting).
    ///
    /// ```
    /// use async_drain::Drain;
    /// use futures_lite::future::{block_on, zip};
    /// use swansong::Swansong;
    ///
    /// let drain = Drain::new();
    /// let swansong = Swansong::new(); // for trillium: `config.with_swansong(swansong.clone())`
    /// let drive = drain.drive(swansong.clone()); // to be spawned
    /// let work = swansong.guard();
    ///
    /// drain.begin();
    /// block_on(zip(drive, async {
    ///     swansong.shutting_down().await;
    ///     assert_eq!(drain.in_flight(), 1);
    ///     drop(work);
    /// }));
    /// drain.until_drained().wait();
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "swansong")))]
    #[track_caller]
    pub fn drive(&self, swansong: Swansong) -> Drive {
        Drive {
            complete: swansong.clone().into_future(),
            swansong: Some(swansong),
            draining: self.until_draining(),
            // If the drain is drained, then the swansong is shut down all the same.
            guard: self.guard().ok().map(|guard| guard.labeled("swansong")),
        }
    }
}

impl Future for Drive {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.swansong.is_some() && Pin::new(&mut self.draining).poll(cx).is_ready() {
            if let Some(swansong) = self.swansong.take() {
                swansong.shut_down();
            }
        }
        ready!(Pin::new(&mut self.complete).poll(cx));
        self.swansong = None;
        self.guard = None;
        Poll::Ready(())
    }
}

impl fmt::Debug for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}
