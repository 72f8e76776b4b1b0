//! When to ask a connection to end, and when to cut it (Z2 Z4 Z6 Z9 Z12 Z13).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{activity::Activity, graceful::GracefulConnection, limits::Limits};
use crate::{
    Observer,
    drain::connection_guard::ConnectionGuard,
    futures::{UntilAborting, UntilLameDuck},
    net::idle::{Alarm, Graces, IdleTimer},
    shutdown::timer,
};

/// How long an HTTP/2 peer without a stream has to react to the first GOAWAY and its PING; gRPC has
/// the same limit.
const GOAWAY: Duration = Duration::from_secs(5);

/// Decides when to ask a connection to end, and when to cut it.
#[derive(Debug)]
pub(super) struct Closing {
    lame_duck: UntilLameDuck,
    aborting: UntilAborting,
    pub(super) activity: Option<Activity>,
    pub(super) idle_timer: IdleTimer,
    /// When the connection was asked to end, or when a tunnel on it was last seen after that.
    pub(super) asked: Option<Instant>,
    /// Set if a stream was a tunnel at the last poll.
    tunnel: bool,
    goaway: Alarm,
    /// How many bytes the peer had acknowledged when that number last grew, and when that was; set
    /// once the connection has been asked to end.
    acknowledged: Option<(usize, Instant)>,
    limits: Limits,
    /// When the head that has begun, or the handshake, must be complete: set by the first poll that
    /// finds it incomplete.
    unfinished: Option<Instant>,
    /// How many requests had arrived before that head.
    requests_before: usize,
    too_long: Alarm,
}

/// What to do with a connection whose poll is pending.
pub(super) enum Next {
    Wait,
    /// Ask it to end.
    Ask,
    Cut,
}

impl Closing {
    /// Returns the state of a connection that has just been accepted.
    pub(super) fn new(observer: &Observer, graces: Graces) -> Self {
        let node = observer.node();
        Self {
            lame_duck: UntilLameDuck::new(node),
            aborting: UntilAborting::new(node),
            activity: None,
            idle_timer: IdleTimer::of(node, graces),
            asked: None,
            tunnel: false,
            goaway: Alarm::default(),
            acknowledged: None,
            limits: Limits::new(),
            unfinished: None,
            requests_before: 0,
            too_long: Alarm::default(),
        }
    }

    pub(super) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Ready when a head or a handshake has been unfinished for `limit`.
    fn poll_unfinished(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = match self.unfinished {
            Some(deadline) => Some(deadline),
            None => {
                self.unfinished = timer::later(Some(Instant::now()), limit);
                self.unfinished
            }
        };
        self.too_long.poll(deadline, cx)
    }

    /// Ready when a head has begun and is not complete in time (Z13).
    #[inline]
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reading = (self.activity.as_ref()).filter(|activity| activity.is_reading_head());
        let Some(activity) = reading else {
            self.unfinished = None;
            return Poll::Pending;
        };
        let requests = activity.requests();
        if self.requests_before != requests {
            // The next head has begun in the same poll that completed the last one.
            self.requests_before = requests;
            self.unfinished = None;
        }
        self.poll_unfinished(self.limits.head, cx)
    }

    /// Returns when the peer last acknowledged bytes while it lacked more; `asked` if it never has.
    /// If it is reading slowly what came before the GOAWAY, it is still there (Z5).
    fn acknowledged_at(&mut self, asked: Instant) -> Instant {
        let Some((acknowledged, missing)) = self.activity.as_ref().map(Activity::acknowledged)
        else {
            return asked;
        };
        let (before, at) = self.acknowledged.get_or_insert((acknowledged, asked));
        if *before != acknowledged && missing > 0 {
            *before = acknowledged;
            *at = Instant::now();
        }
        *at
    }

    /// Returns whether aborting has begun; [`next`](Self::next) waits for it.
    #[inline]
    pub(super) fn is_aborting(&self) -> bool {
        self.aborting.is_reached()
    }

    #[inline]
    pub(super) fn poll_aborting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.aborting).poll(cx)
    }

    /// Ready when a handshake that is still under way is to be given up.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_aborting(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.poll_unfinished(self.limits.handshake, cx).is_ready() {
            return Poll::Ready(());
        }
        self.idle_timer.set_idle(true);
        self.idle_timer.poll(true, cx)
    }

    /// Notes that the handshake is complete: its time limit ends with it.
    pub(super) fn handshake_done(&mut self) {
        self.unfinished = None;
        self.too_long = Alarm::default();
    }

    /// Returns whether `error` only says that the connection ended as it was asked to.
    pub(super) fn is_expected<C: GracefulConnection>(&self, error: &C::Error) -> bool {
        let unasked = self.activity.as_ref().is_some_and(Activity::is_left);
        self.asked.is_some() && (unasked || C::is_cancelled(error))
    }

    /// Returns what [`report`](Self::report) needs to know. Call it before polling the connection.
    #[inline]
    pub(super) fn before_poll(&self) -> usize {
        self.activity.as_ref().map_or(0, Activity::ended)
    }

    /// Tells the guard whether the connection is at work.
    #[inline]
    pub(super) fn report(&mut self, before_poll: usize, guard: Option<&mut ConnectionGuard>) {
        if let Some(activity) = &self.activity {
            activity.polled(before_poll, self.asked.is_some());
        }
        // Bytes that the peer has still to acknowledge are work, until the grace period ends.
        let delivering = guard.as_deref().is_some_and(ConnectionGuard::is_delivering);
        let idle = self.activity.as_ref().is_none_or(Activity::is_idle) && !delivering;
        self.idle_timer.set_idle(idle);
        // A connection whose activity is not known is always at work.
        let Some(guard) = guard.filter(|_| self.activity.is_some()) else {
            return;
        };
        if idle {
            guard.rest();
        } else {
            guard.work();
        }
    }

    #[inline]
    pub(super) fn next(&mut self, cx: &mut Context<'_>) -> Next {
        if self.poll_head(cx).is_ready() {
            return Next::Cut;
        }
        if Pin::new(&mut self.lame_duck).poll(cx).is_pending() {
            // Aborting begins with lame duck, or after it.
            return Next::Wait;
        }
        if self.poll_aborting(cx).is_ready() {
            return Next::Cut;
        }
        if let Some(asked) = self.asked {
            return self.next_after(asked, cx);
        }
        let http2 = self.activity.as_ref().is_some_and(Activity::is_http2);
        let silent = self
            .activity
            .as_ref()
            .is_some_and(|activity| activity.requests() == 0);
        if http2 && !silent {
            // Tell the peer at once. It loses nothing: streams that it opens before it learns of
            // this are served.
            return Next::Ask;
        }
        // Over HTTP/1, the next answer of a connection that is not idle says `close`.
        match self.idle_timer.poll(silent, cx) {
            Poll::Ready(()) => Next::Ask,
            Poll::Pending => Next::Wait,
        }
    }

    /// Returns what to do with a connection that was `asked` to end.
    ///
    /// hyper waits for its PING to come back, however long that takes, and then for the last
    /// stream. A peer that has sent anything since it was told is still there, and a task of the
    /// user's may be reading from one of its streams. While a stream is a tunnel, the peer need not
    /// react (Z6).
    fn next_after(&mut self, asked: Instant, cx: &mut Context<'_>) -> Next {
        let Some(activity) = (self.activity.as_ref()).filter(|activity| activity.is_http2()) else {
            return Next::Wait;
        };
        let reacted = activity.has_reacted();
        let tunnel = activity.has_tunnel();
        let asked = if tunnel || self.tunnel {
            *self.asked.insert(Instant::now())
        } else {
            asked
        };
        self.tunnel = tunnel;
        let since = (self.idle_timer.idle_after(asked)).filter(|_| !reacted);
        let since = since.map(|since| since.max(self.acknowledged_at(asked)));
        match self.goaway.poll(timer::later(since, GOAWAY), cx) {
            Poll::Ready(()) => Next::Cut,
            Poll::Pending => Next::Wait,
        }
    }
}
