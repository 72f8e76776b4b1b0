use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;

use super::{
    activity::Activity,
    closing::{Closing, Next},
    graceful::GracefulConnection,
    limits::{Limits, SharedLimits},
};
use crate::{Drain, drain::connection_guard::ConnectionGuard, net::idle::Graces};

pin_project! {
    /// Drives a connection until it ends or aborting begins; returned by [`Drain::watch`].
    ///
    /// It resolves when the connection ends. When aborting begins, it drops the connection and
    /// resolves with `Ok`: the report tells what was cut.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Watch<C> {
        // `None` once it has ended, though its close may be left to us.
        #[pin]
        conn: Option<C>,
        closing: Closing,
        guard: Option<ConnectionGuard>,
        // How many requests had come when it was last polled again because hyper was stalled.
        stalled: Option<usize>,
    }
}

impl Drain {
    /// Drives `conn` until it ends, asks it to end when the drain begins, and cuts it when aborting
    /// begins.
    ///
    /// It takes a guard at once, so call it before the task is spawned. It takes any
    /// [`GracefulConnection`], and nothing has to be `Send`. On its own it asks the connection to
    /// end as soon as the keep-alive grace is over. To keep the other promises of
    /// [`Server`](super::Server), build the connection from an [`Activity`]'s [`io`](Activity::io)
    /// and [`service`](Activity::service), and pass that activity to [`activity`](Watch::activity).
    ///
    /// Only the server recognises a tunnel in an HTTP/2 stream, by the task that hyper spawns for
    /// it. Here, a connection with a tunnel is cut if its peer sends nothing for five seconds after
    /// it was told to leave, not even the answer to a PING.
    ///
    /// ```no_run
    /// # use async_drain::{Drain, hyper::Activity};
    /// # use std::convert::Infallible;
    /// # use ::hyper::{Request, Response, body::Incoming};
    /// # use ::hyper::{service::service_fn, server::conn::http1};
    /// # async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    /// #     Ok(Response::new("hello".into())) }
    /// # fn accepted(drain: Drain, stream: async_io::Async<std::net::TcpStream>) {
    /// let activity = Activity::new(&drain);
    /// let conn = http1::Builder::new().serve_connection(
    ///     activity.io(stream),
    ///     activity.service(service_fn(hello)),
    /// );
    /// smol::spawn(drain.watch(conn).activity(activity)).detach();
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
    #[track_caller]
    pub fn watch<C: GracefulConnection>(&self, conn: C) -> Watch<C> {
        // Once the drain is drained there are no guards; the connection is asked to end all the
        // same.
        let closing = Closing::new(&self.observer(), Graces::default());
        Watch::new(conn, closing, self.guard().ok().map(ConnectionGuard::new))
    }
}

impl<C: GracefulConnection> Watch<C> {
    pub(super) fn new(conn: C, closing: Closing, guard: Option<ConnectionGuard>) -> Self {
        Self {
            conn: Some(conn),
            closing,
            guard: guard.map(ConnectionGuard::abandoned_if_dropped),
            stalled: None,
        }
    }

    /// Sets the activity of the connection, which tells whether it is idle.
    pub fn activity(mut self, activity: Activity) -> Self {
        if let Some(starter) = self.guard.as_ref().map(ConnectionGuard::work_starter) {
            activity.set_work_starter(starter);
        }
        self.closing.set_activity(activity);
        self
    }

    /// Sets what the peer may take and how long the connection may live. Its age counts from when
    /// this watch was created.
    ///
    /// All limits apply but those of the accept loop: that of a handshake, and that of the number
    /// of connections, which is [`Incoming::connections`](crate::net::Incoming::connections). Set
    /// the [`activity`](Self::activity) too: without it, only the age and its grace apply, and the
    /// connection is asked to end once its age and the keep-alive grace are over.
    ///
    /// ```no_run
    /// # use async_drain::{Drain, hyper::{Activity, GracefulConnection, Limits}};
    /// # use std::time::Duration;
    /// # fn watch<C: GracefulConnection>(drain: &Drain, conn: C, activity: Activity) {
    /// let limits = Limits::new()
    ///     .idle(Duration::from_secs(75))
    ///     .age(Duration::from_secs(3600));
    /// let watch = drain.watch(conn).activity(activity).limits(limits);
    /// # }
    /// ```
    pub fn limits(mut self, limits: Limits) -> Self {
        self.closing.set_limits(SharedLimits::new(limits), None);
        self
    }

    /// Sets how long an idle connection may still send one more request after draining has begun;
    /// one second by default. Zero closes it at once.
    pub fn keep_alive_grace(mut self, grace: Duration) -> Self {
        self.closing.idleness.graces.keep_alive = grace;
        self
    }

    /// Sets how long after this watch was created a silent connection may still send its first
    /// request, once draining has begun; five seconds by default. It is never shorter than the
    /// keep-alive grace.
    pub fn first_request_grace(mut self, grace: Duration) -> Self {
        self.closing.idleness.graces.first_request = grace;
        self
    }
}

impl<C: GracefulConnection> Future for Watch<C> {
    type Output = Result<(), C::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            if this.closing.is_aborting() {
                break Ok(());
            }
            let before_poll = this.closing.before_poll();
            let polled = if let Some(conn) = this.conn.as_mut().as_pin_mut() {
                // A panic in the poll is the handler's own failure, and abandons nothing.
                let unwinding = FinishedByPanic(this.guard.as_mut());
                // Poll the connection first, so that what has arrived is read before it is judged
                // idle.
                let polled = conn.poll(cx);
                mem::forget(unwinding);
                polled
            } else {
                this.closing.poll_unclosed(cx).map(Ok)
            };
            if let Poll::Ready(result) = polled {
                if result.is_ok() && this.closing.is_unclosed() {
                    this.conn.set(None);
                    continue;
                }
                break match result {
                    Err(error) if this.closing.is_expected::<C>(&error) => Ok(()),
                    result => result,
                };
            }
            this.closing.report(before_poll, this.guard.as_mut());
            // hyper would not be woken. Poll it again for as long as that brings a further request;
            // other tasks run in between.
            let before = *this.stalled;
            *this.stalled = (this.closing.stalled()).filter(|&requests| before != Some(requests));
            if this.stalled.is_some() || this.closing.is_unflushed() {
                cx.waker().wake_by_ref();
            }
            match this.closing.next(cx) {
                Next::Wait => return Poll::Pending,
                Next::Cut => break Ok(()),
                Next::CutByAge => {
                    this.closing.cut_by_age(this.guard.as_mut());
                    break Ok(());
                }
                Next::Ask => {
                    let ends = this.closing.ask();
                    if let Some(conn) = this.conn.as_mut().as_pin_mut().filter(|_| !ends) {
                        conn.graceful_shutdown();
                    }
                }
            }
        };
        this.closing.ended();
        if let Some(guard) = this.guard.as_mut() {
            guard.finished();
        }
        // Close the socket before dropping the guard, which says that the last byte was written
        // (Z5).
        this.conn.set(None);
        *this.guard = None;
        Poll::Ready(result)
    }
}

/// Marks a guard as finished when this is dropped, which only a panic does.
struct FinishedByPanic<'a>(Option<&'a mut ConnectionGuard>);

impl Drop for FinishedByPanic<'_> {
    fn drop(&mut self) {
        if let Some(guard) = &mut self.0 {
            guard.finished();
        }
    }
}
