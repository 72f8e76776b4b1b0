//! Ends a drain without [`Shutdown`](crate::Shutdown), for programs that need no signals, lame duck
//! or abort grace.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Instant,
};

use crate::{Drain, Phase, Report};

impl Drain {
    /// Begins draining and waits until the drain has drained. If `timer` completes first, begins
    /// aborting.
    ///
    /// The timer is any future, so no runtime is needed. The report tells what was abandoned: the
    /// work that was alive when aborting began, here and in children, even if other code began it.
    ///
    /// # Cancel safety
    ///
    /// The drain begins at the first poll and stays begun. Dropping the future later only stops the
    /// waiting.
    ///
    /// ```
    /// use async_drain::Drain;
    /// use futures_lite::future::{block_on, pending, ready};
    ///
    /// let drain = Drain::new();
    /// let work = drain.guard()?;
    /// let report = block_on(drain.finish(ready(()))); // no grace at all
    /// assert_eq!(report.stragglers().total(), 1);
    ///
    /// drop(work); // it was alive when aborting began: another report says the same
    /// let report = block_on(drain.finish(pending::<()>()));
    /// assert_eq!((report.stragglers().total(), report.still_running()), (1, 0));
    /// # Ok::<(), async_drain::Drained>(())
    /// ```
    pub async fn finish<T: Future>(&self, timer: T) -> Report {
        self.finish_by(None, timer).await
    }

    /// Begins draining and waits until the drain has drained. If that takes longer than `limit`,
    /// begins aborting.
    ///
    /// It is [`finish`](Self::finish) with a timer of the async-io reactor, and sets the
    /// [deadline](Self::deadline). A duration that overflows [`Instant`] means no limit.
    #[cfg(feature = "async-io")]
    #[cfg_attr(docsrs, doc(cfg(feature = "async-io")))]
    pub async fn finish_within(&self, limit: std::time::Duration) -> Report {
        use crate::shutdown::timer::{later, until};
        let deadline = later(Some(Instant::now()), limit);
        self.finish_by(deadline, until(deadline)).await
    }

    async fn finish_by<T: Future>(&self, deadline: Option<Instant>, timer: T) -> Report {
        let started = Instant::now();
        self.node().raise(Phase::Draining, deadline);
        let mut report = Report::begun(self.node().begun_with());

        let mut timer = pin!(timer);
        let mut drained = self.until_drained();
        let in_time = poll_fn(|cx| {
            if pin!(&mut drained).poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            timer.as_mut().poll(cx).map(|_| false)
        })
        .await;
        report.draining = started.elapsed();
        if !in_time {
            self.abort();
        }
        report.abandoned(self.node().abandoned(), self.in_flight());
        report
    }
}
