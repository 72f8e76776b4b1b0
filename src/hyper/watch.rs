use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;

use super::{
    activity::Activity,
    ending::{Ending, Next},
    graceful::GracefulConnection,
};
use crate::{Drain, drain::connection_guard::ConnectionGuard, net::idle::Graces};

pin_project! {
    /// A connection that drains; made by [`Drain::watch`].
    ///
    /// It ends with the connection. When aborting begins it drops the connection and ends with `Ok`; the report tells
    /// what was cut.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Watch<C> {
        #[pin]
        conn: Option<C>,
        end: Ending,
        standby: Option<ConnectionGuard>,
    }
}

impl Drain {
    /// Drives `conn` until it ends, asks it to end when the drain begins, and cuts it when aborting begins.
    ///
    /// It takes a guard at once, so call it before the task is spawned. Any [`GracefulConnection`] will do, and nothing
    /// need be `Send`. On its own it asks the connection to end as soon as the keep-alive grace is over; for
    /// the rest of what [`Server`](super::Server) promises, make the connection of an [`Activity`]'s
    /// [`io`](Activity::io) and [`service`](Activity::service) and say so by [`activity`](Watch::activity).
    ///
    /// ```no_run
    /// # use async_drain::{Drain, hyper::Activity};
    /// # use ::hyper::{Request, Response, body::Incoming, service::service_fn, server::conn::http1};
    /// # async fn hello(_: Request<Incoming>) -> Result<Response<String>, std::convert::Infallible> {
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
        // A drain that is drained has nobody left to tell; the connection is asked to end like any other.
        let ending = Ending::new(self.node(), Graces::default());
        Watch::new(conn, ending, self.guard().ok().map(ConnectionGuard::new))
    }
}

impl<C: GracefulConnection> Watch<C> {
    pub(super) fn new(conn: C, end: Ending, standby: Option<ConnectionGuard>) -> Self {
        Self {
            conn: Some(conn),
            end,
            standby: standby.map(ConnectionGuard::abandoned_if_dropped),
        }
    }

    /// Tells what the connection is doing.
    pub fn activity(mut self, activity: Activity) -> Self {
        if let Some(starter) = self.standby.as_ref().map(ConnectionGuard::work_starter) {
            activity.set_work_starter(starter);
        }
        self.end.activity = Some(activity);
        self
    }

    /// How long an idle connection may still place one more request after draining has begun; one second by default.
    /// Zero closes it at once.
    pub fn keep_alive_grace(mut self, grace: Duration) -> Self {
        self.end.patience.graces.keep_alive = grace;
        self
    }

    /// How long a connection that has sent nothing may still send its first request, from now on; five seconds by
    /// default. It is never shorter than the keep-alive grace.
    pub fn first_request_grace(mut self, grace: Duration) -> Self {
        self.end.patience.graces.first_request = grace;
        self
    }
}

impl<C: GracefulConnection> Future for Watch<C> {
    type Output = Result<(), C::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let result = loop {
            if this.end.poll_aborting(cx).is_ready() {
                break Ok(());
            }
            let Some(conn) = this.conn.as_mut().as_pin_mut() else {
                break Ok(());
            };
            let before_poll = this.end.before_poll();
            // A panic in there is its handler's own failure, and abandons nothing.
            let unwinding = FinishedByPanic(this.standby.as_mut());
            // The connection first: what has arrived is read before it is judged idle.
            let polled = conn.poll(cx);
            mem::forget(unwinding);
            if let Poll::Ready(result) = polled {
                break match result {
                    Err(error) if this.end.is_expected::<C>(&error) => Ok(()),
                    result => result,
                };
            }
            this.end.report(before_poll, this.standby.as_mut());
            match this.end.next(cx) {
                Next::Wait => return Poll::Pending,
                Next::Cut => break Ok(()),
                Next::Ask => {
                    this.end.asked = Some(Instant::now());
                    let ends = this.end.activity.as_ref().is_some_and(Activity::leave);
                    if let Some(conn) = this.conn.as_mut().as_pin_mut().filter(|_| !ends) {
                        conn.graceful_shutdown();
                    }
                }
            }
        };
        if let Some(standby) = this.standby.as_mut() {
            standby.finished();
        }
        // The socket is closed before the guard says that the last byte was written (Z5).
        this.conn.set(None);
        *this.standby = None;
        Poll::Ready(result)
    }
}

/// Marks a guard as finished if it is dropped, which only a panic does.
struct FinishedByPanic<'a>(Option<&'a mut ConnectionGuard>);

impl Drop for FinishedByPanic<'_> {
    fn drop(&mut self) {
        if let Some(standby) = &mut self.0 {
            standby.finished();
        }
    }
}
