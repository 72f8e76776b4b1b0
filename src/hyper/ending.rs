//! When to ask a connection to end, and when to cut it (Z2 Z4 Z9 Z12).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{activity::Activity, graceful::GracefulConnection, limits::Limits};
use crate::{
    drain::connection_guard::ConnectionGuard,
    drain::node::Node,
    drain::sync::Arc,
    futures::{UntilAborting, UntilLameDuck},
    net::idle::{Alarm, Graces, IdleTimer},
    shutdown::timer,
};

/// How long an HTTP/2 peer without a stream has to react to our first GOAWAY and its PING; gRPC's limit.
const GOAWAY: Duration = Duration::from_secs(5);

/// When to ask a connection to end.
#[derive(Debug)]
pub(super) struct Ending {
    lame_duck: UntilLameDuck,
    aborting: UntilAborting,
    pub(super) activity: Option<Activity>,
    pub(super) patience: IdleTimer,
    /// When it was asked to end.
    pub(super) asked: Option<Instant>,
    /// Set if a stream was a tunnel when the connection was looked at last.
    tunnel: bool,
    goaway: Alarm,
    /// How much the peer had acknowledged when it was last seen to acknowledge more, and when that
    /// was; set once it was asked to end.
    acknowledged: Option<(usize, Instant)>,
    limits: Limits,
    /// When the head that has begun, or the handshake, must be complete: set when a poll first finds it is not.
    unfinished: Option<Instant>,
    /// How many requests came before that head.
    before: usize,
    too_long: Alarm,
}

/// What to do with a connection that has nothing to do right now.
pub(super) enum Next {
    Wait,
    Ask,
    Cut,
}

impl Ending {
    /// For a connection that has just been accepted.
    pub(super) fn new(core: &Arc<Node>, graces: Graces) -> Self {
        Self {
            lame_duck: UntilLameDuck::new(core),
            aborting: UntilAborting::new(core),
            activity: None,
            patience: IdleTimer::of(core, graces),
            asked: None,
            tunnel: false,
            goaway: Alarm::default(),
            acknowledged: None,
            limits: Limits::new(),
            unfinished: None,
            before: 0,
            too_long: Alarm::default(),
        }
    }

    pub(super) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Ready when what is unfinished has been so for `limit`.
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

    /// Ready when a head that has begun is not complete in time (Z13).
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reading = (self.activity.as_ref()).filter(|activity| activity.is_reading_head());
        let Some(activity) = reading else {
            self.unfinished = None;
            return Poll::Pending;
        };
        let before = activity.requests();
        if self.before != before {
            // The next head has begun in the same poll that brought the end of the last.
            self.before = before;
            self.unfinished = None;
        }
        self.poll_unfinished(self.limits.head, cx)
    }

    /// Returns when the peer was last seen to acknowledge something and to lack more; `asked` if it
    /// never was. What it reads slowly comes before our GOAWAY, so it is there (Z5).
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
        self.patience.set_idle(true);
        self.patience.poll(true, cx)
    }

    /// The handshake is over, and its time with it.
    pub(super) fn served(&mut self) {
        self.unfinished = None;
        self.too_long = Alarm::default();
    }

    /// Whether `error` only says that the connection ended as it was asked to.
    pub(super) fn is_expected<C: GracefulConnection>(&self, error: &C::Error) -> bool {
        let left = self.activity.as_ref().is_some_and(Activity::is_left);
        self.asked.is_some() && (left || C::is_cancelled(error))
    }

    /// What [`report`](Self::report) wants to know of the time before the connection is polled.
    pub(super) fn before_poll(&self) -> usize {
        self.activity.as_ref().map_or(0, Activity::ended)
    }

    /// Lets the guard say whether this is work, and which.
    pub(super) fn report(&mut self, before_poll: usize, standby: Option<&mut ConnectionGuard>) {
        if let Some(activity) = &self.activity {
            activity.polled(before_poll, self.asked.is_some());
        }
        // Bytes that the peer has still to acknowledge are work, until the grace period ends.
        let delivering = standby
            .as_deref()
            .is_some_and(ConnectionGuard::is_delivering);
        let idle = self.activity.as_ref().is_none_or(Activity::is_idle) && !delivering;
        self.patience.set_idle(idle);
        // Of a connection whose activity is not known, all is work.
        let Some(standby) = standby.filter(|_| self.activity.is_some()) else {
            return;
        };
        if idle {
            standby.rest();
        } else {
            standby.work();
        }
    }

    pub(super) fn next(&mut self, cx: &mut Context<'_>) -> Next {
        if self.poll_head(cx).is_ready() {
            return Next::Cut;
        }
        if Pin::new(&mut self.lame_duck).poll(cx).is_pending() {
            return Next::Wait;
        }
        let http2 = self.activity.as_ref().is_some_and(Activity::is_http2);
        if let Some(asked) = self.asked {
            // hyper waits for our PING to come back, however long that takes. A peer that has sent anything since is
            // there, and hyper ends the connection after its last stream, of which a task of somebody's may yet read.
            let reacted = self.activity.as_ref().is_some_and(Activity::has_reacted);
            let tunnel = self.activity.as_ref().is_some_and(Activity::has_tunnel);
            let asked = if tunnel || self.tunnel {
                // A peer has its time to react anew when its last tunnel has ended (Z6).
                *self.asked.insert(Instant::now())
            } else {
                asked
            };
            self.tunnel = tunnel;
            let since = (self.patience.idle_after(asked)).filter(|_| http2 && !reacted && !tunnel);
            let since = since.map(|since| since.max(self.acknowledged_at(asked)));
            return match self.goaway.poll(timer::later(since, GOAWAY), cx) {
                Poll::Ready(()) => Next::Cut,
                Poll::Pending => Next::Wait,
            };
        }
        let silent = self
            .activity
            .as_ref()
            .is_some_and(|activity| activity.requests() == 0);
        if http2 && !silent {
            // Its peer is told at once, and loses nothing: streams that it opens meanwhile are served.
            return Next::Ask;
        }
        // Of HTTP/1, the next answer of one that is not idle says `close`.
        match self.patience.poll(silent, cx) {
            Poll::Ready(()) => Next::Ask,
            Poll::Pending => Next::Wait,
        }
    }
}
