//! When to ask a connection to end, and when to cut it (Z2 Z4 Z6 Z9 Z12 Z13 Z14).
//!
//! A peer is told to leave in the heads of answers (`Activity::is_leaving`) and, over HTTP/2, by
//! GOAWAY. Why: lame duck or draining has begun; the connection's age has come; or it was idle for
//! too long. `Closing` decides all of that, on one timer: what is due is in `due`, the times that
//! handshakes and heads may take in `unfinished`, the window in which peers are told in `window`, a
//! connection's age in `aged`, and the wait for a connection that was asked to end in `asked`.

mod aged;
mod asked;
mod due;
mod unfinished;
mod window;

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use self::{due::Due, window::Moment};
use super::{
    activity::Activity,
    age::{Age, Aged},
    alarm::Alarm,
    graceful::GracefulConnection,
    limits::{Limits, SharedLimits},
};
use crate::{
    Observer,
    drain::connection_guard::ConnectionGuard,
    futures::{UntilAborting, UntilLameDuck},
    net::idle::{Graces, Idleness},
    shutdown::timer,
};

/// How long a connection is kept open beyond the idle limit that it advertises: a request that was
/// sent just in time arrives later. (Node's buffer is the same.)
const IDLE_BUFFER: Duration = Duration::from_secs(1);

/// Decides when to ask a connection to end, and when to cut it.
#[derive(Debug)]
pub(super) struct Closing {
    lame_duck: UntilLameDuck,
    aborting: UntilAborting,
    activity: Option<Activity>,
    pub(super) idleness: Idleness,
    /// `None` means the default limits.
    limits: Option<Arc<SharedLimits>>,
    /// The connection's age, if that is limited.
    age: Option<Box<Age>>,
    alarm: Alarm,
    /// When the connection was asked to end, or when a tunnel on it was last seen after that.
    asked: Option<Instant>,
    /// Set if a stream was a tunnel at the last poll.
    tunnel: bool,
    /// How many bytes the peer had acknowledged when that number last grew, and when that was; set
    /// once the connection has been asked to end.
    acknowledged: Option<(usize, Instant)>,
    /// When the head that has begun, or the handshake, must be complete: set by the first poll that
    /// finds it incomplete.
    unfinished: Option<Instant>,
    /// How many requests had arrived before that head.
    requests_before: usize,
    /// How many requests had come when the connection was last seen idle. Counted while there is an
    /// idle limit.
    requests_at_idle: usize,
    /// When the connection is told to leave because the server stops, if that time is drawn from a
    /// window: set once the window has begun.
    moment: Option<Moment>,
    /// When the connection got a reason of its own to end as soon as it is idle: it has been idle
    /// for too long, or it is aged and its activity isn't known.
    expired: Option<Instant>,
}

/// What to do with a connection whose poll is pending.
pub(super) enum Next {
    Wait,
    /// Ask it to end.
    Ask,
    Cut,
    /// Cut it at work, because its age grace is over.
    CutByAge,
}

impl Closing {
    /// Returns the state of a connection that has just been accepted.
    pub(super) fn new(observer: &Observer, graces: Graces) -> Self {
        let node = observer.node();
        Self {
            lame_duck: UntilLameDuck::new(node),
            aborting: UntilAborting::new(node),
            activity: None,
            idleness: Idleness::new(node, graces),
            limits: None,
            age: None,
            alarm: Alarm::default(),
            asked: None,
            tunnel: false,
            acknowledged: None,
            unfinished: None,
            requests_before: 0,
            requests_at_idle: 0,
            moment: None,
            expired: None,
        }
    }

    /// Sets the limits of the connection, whose `peer` is named if its age ends it.
    pub(super) fn set_limits(&mut self, limits: Arc<SharedLimits>, peer: Option<SocketAddr>) {
        let accepted = self.idleness.accepted;
        let presence = self.age.take().and_then(|age| age.presence);
        let age = Age::of(&limits, Aged { accepted, peer }, presence);
        self.age = age.map(Box::new);
        self.limits = Some(limits);
        self.limit_activity();
    }

    pub(super) fn set_activity(&mut self, activity: Activity) {
        self.activity = Some(activity);
        self.limit_activity();
    }

    fn limit_activity(&mut self) {
        if let (Some(activity), Some(limits)) = (&self.activity, &self.limits) {
            let presence = activity.set_limits(limits);
            if let (Some(age), Some(presence)) = (&mut self.age, presence) {
                age.presence = Some(presence);
            }
        }
    }

    #[inline]
    fn limits(&self) -> &Limits {
        (self.limits.as_deref()).map_or(&Limits::DEFAULT, |limits| limits)
    }

    /// Notes that the connection is asked to end. Returns whether its socket ends it, so that hyper
    /// need not be asked.
    pub(super) fn ask(&mut self) -> bool {
        self.asked = Some(Instant::now());
        self.activity.as_ref().is_some_and(Activity::leave)
    }

    /// Notes that the connection has ended, or that it has been upgraded and is no longer the
    /// server's.
    pub(super) fn ended(&mut self) {
        if let Some(activity) = &self.activity {
            activity.set_over();
        }
        // With it goes the presence.
        let age = self.age.take();
        if let (Some(activity), Some(age)) = (&self.activity, age) {
            if let Some(handlers) = activity.handlers().filter(|_| activity.is_upgraded()) {
                handlers.keep(&age);
            }
        }
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

    /// Returns whether `error` only says that the connection ended as it was asked to.
    pub(super) fn is_expected<C: GracefulConnection>(&self, error: &C::Error) -> bool {
        let unasked = self.activity.as_ref().is_some_and(Activity::is_left);
        self.asked.is_some() && (unasked || C::is_cancelled(error))
    }

    /// Returns what [`report`](Self::report) needs to know. Call it before polling the connection.
    #[inline]
    pub(super) fn before_poll(&self) -> usize {
        self.activity.as_ref().map_or(0, Activity::poll_begins)
    }

    /// Returns whether hyper has ended and left the close of the connection to us.
    pub(super) fn is_unclosed(&self) -> bool {
        self.activity.as_ref().is_some_and(Activity::is_unclosed)
    }

    /// Closes a connection that hyper has left unclosed.
    pub(super) fn poll_unclosed(&self, cx: &mut Context<'_>) -> Poll<()> {
        (self.activity.as_ref()).map_or(Poll::Ready(()), |activity| activity.poll_unclosed(cx))
    }

    /// Returns how many requests have come if hyper has bytes of the next one and won't be woken.
    #[inline]
    pub(super) fn stalled(&self) -> Option<usize> {
        let activity = self.activity.as_ref()?;
        activity.is_stalled().then(|| activity.requests())
    }

    /// Returns whether an answer of HTTP/2 ended too late for the poll before: the next one writes
    /// it.
    #[inline]
    pub(super) fn is_unflushed(&self) -> bool {
        self.activity.as_ref().is_some_and(Activity::is_unflushed)
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
        self.set_idle(idle);
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
    fn set_idle(&mut self, idle: bool) {
        let exactly = self.limits().idle.is_some();
        if exactly && idle {
            let requests = self.activity.as_ref().map_or(0, Activity::requests);
            if self.requests_at_idle != requests {
                // It was at work in between, if only within one poll.
                self.requests_at_idle = requests;
                self.idleness.set_idle(false, true);
            }
        }
        self.idleness.set_idle(idle, exactly);
    }

    /// Returns what to do now, and wakes the task when that may change.
    #[inline]
    pub(super) fn next(&mut self, cx: &mut Context<'_>) -> Next {
        self.look(cx, Self::decide)
    }

    /// Lets `decide` compare times, and sets the alarm to the earliest one that has not passed.
    #[inline]
    fn look(
        &mut self,
        cx: &mut Context<'_>,
        decide: impl Fn(&mut Self, &mut Due, &mut Context<'_>) -> Next,
    ) -> Next {
        loop {
            let mut due = Due {
                now: self.alarm.has_fired().then(Instant::now),
                next: None,
            };
            let next = decide(self, &mut due, cx);
            match (&next, due.next) {
                (Next::Wait, Some(at)) if self.alarm.set(at, cx).is_ready() => {}
                (Next::Wait, None) if due.now.is_some() => {
                    self.alarm = Alarm::default();
                    return next;
                }
                _ => return next,
            }
        }
    }

    #[inline]
    fn decide(&mut self, due: &mut Due, cx: &mut Context<'_>) -> Next {
        let stopping = Pin::new(&mut self.lame_duck).poll(cx).is_ready();
        if self.is_head_late(stopping, due) {
            return Next::Cut;
        }
        if !stopping && !self.limits().apply_while_running() {
            // Aborting begins with lame duck, or after it.
            return Next::Wait;
        }
        self.decide_to_leave(stopping, due, cx)
    }

    /// Decides on a connection that may have a reason to leave; `stopping` tells that lame duck has
    /// begun.
    fn decide_to_leave(&mut self, stopping: bool, due: &mut Due, cx: &mut Context<'_>) -> Next {
        let mut begun = None;
        if stopping {
            if self.poll_aborting(cx).is_ready() {
                return Next::Cut;
            }
            if let Poll::Ready(at) = self.idleness.poll_draining(cx) {
                begun = Some(at);
            }
        }
        if due.has_passed(self.age.as_ref().and_then(|age| age.at)) {
            self.tell_of_age(due);
        }
        if due.has_passed(self.age.as_ref().and_then(|age| age.cut)) {
            if let Some(next) = self.end_by_age() {
                return next;
            }
        }
        if let Some(asked) = self.asked {
            return self.next_after(asked, due);
        }
        let told = self.tell(stopping, begun, due);
        let http2 = self.activity.as_ref().is_some_and(Activity::is_http2);
        let silent = (self.activity.as_ref()).is_some_and(|activity| activity.requests() == 0);
        if http2 && !silent && self.is_leaving() {
            // Tell the peer at once. It loses nothing: streams that it opens before it learns of
            // this are served.
            return Next::Ask;
        }
        // Over HTTP/1, the next answer of a connection that is not idle says `close`.
        let end = told.and_then(|told| self.idleness.end(silent, told));
        if due.has_passed(end) {
            Next::Ask
        } else {
            Next::Wait
        }
    }

    fn is_leaving(&self) -> bool {
        self.activity.as_ref().is_some_and(Activity::is_leaving)
    }

    fn set_leaving(&self) {
        if let Some(activity) = &self.activity {
            activity.set_leaving();
        }
    }

    /// Tells the peer to leave if there is a reason. Returns since when there has been one that
    /// ends an idle connection of HTTP/1, too; `begun` is when draining began.
    fn tell(&mut self, stopping: bool, begun: Option<Instant>, due: &mut Due) -> Option<Instant> {
        if due.has_passed(self.idle_end()) {
            self.expired = due.now;
            self.set_leaving();
        }
        let stopped = if self.limits().spread.is_zero() || self.activity.is_none() {
            begun
        } else {
            self.tell_in_window(stopping, begun, due)
        };
        match (stopped, self.expired) {
            (Some(stopped), Some(expired)) => Some(stopped.min(expired)),
            (stopped, expired) => stopped.or(expired),
        }
    }

    /// Returns when the connection will have been idle for too long, unless that has come.
    fn idle_end(&self) -> Option<Instant> {
        let limit = self.limits().idle?;
        if self.expired.is_some() {
            return None;
        }
        let idle = self.idleness.since(self.idleness.accepted)?;
        // A tunnel is not idle, whether anything is sent through it or not. What is not known isn't
        // either.
        let at_work = self.activity.as_ref().is_none_or(Activity::has_tunnel);
        timer::later(Some(idle), limit.checked_add(IDLE_BUFFER)?).filter(|_| !at_work)
    }
}
