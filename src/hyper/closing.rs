//! When to ask a connection to end, and when to cut it (Z2 Z4 Z6 Z9 Z12 Z13 Z14).
//!
//! A peer is told to leave in the heads of answers (`Activity::is_leaving`) and, over HTTP/2, by
//! GOAWAY. Why: lame duck or draining has begun; the connection's age has come; or it was idle for
//! too long. This file decides all of that, on one timer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    activity::Activity,
    alarm::Alarm,
    graceful::GracefulConnection,
    limits::{self, Limits},
};
use crate::{
    Observer,
    drain::connection_guard::ConnectionGuard,
    futures::{UntilAborting, UntilLameDuck},
    net::idle::{Graces, Idleness},
    shutdown::timer,
};

/// How long an HTTP/2 peer without a stream has to react to the first GOAWAY and its PING; gRPC has
/// the same limit.
const GOAWAY: Duration = Duration::from_secs(5);

/// How long a connection is kept open beyond the idle limit that it advertises: a request that was
/// sent just in time arrives later. (Node's buffer is the same.)
const IDLE_BUFFER: Duration = Duration::from_secs(1);

/// How long after draining has begun the deadline is looked for again, if there was none.
const LATE_DEADLINE: Duration = Duration::from_millis(100);

/// Decides when to ask a connection to end, and when to cut it.
#[derive(Debug)]
pub(super) struct Closing {
    lame_duck: UntilLameDuck,
    aborting: UntilAborting,
    pub(super) activity: Option<Activity>,
    pub(super) idleness: Idleness,
    limits: Limits,
    alarm: Alarm,
    /// When the connection was asked to end, or when a tunnel on it was last seen after that.
    pub(super) asked: Option<Instant>,
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
    /// When the connection's age comes, if there is a limit; taken when it has come.
    aged: Option<Instant>,
    /// When the connection is cut because of its age, if there is a limit; taken when that has
    /// come.
    cut: Option<Instant>,
    /// When the connection is told to leave because the server stops, if that time is drawn from a
    /// window: set once the window has begun.
    moment: Option<Moment>,
    /// Since when the connection has been leaving for having been idle too long.
    idle_limit_passed: Option<Instant>,
}

/// A time that was drawn from a window, and the deadline of the drain that was known then.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    deadline: Option<Instant>,
}

/// What to do with a connection whose poll is pending.
pub(super) enum Next {
    Wait,
    /// Ask it to end.
    Ask,
    Cut,
}

/// Compares times with the present, which is known only in a look that the alarm has caused.
struct Due {
    now: Option<Instant>,
    /// The earliest time that has not passed.
    next: Option<Instant>,
}

impl Due {
    /// Returns whether `at` has passed; never if it is `None`.
    #[inline]
    fn has_passed(&mut self, at: Option<Instant>) -> bool {
        let Some(at) = at else {
            return false;
        };
        if self.now.is_some_and(|now| at <= now) {
            return true;
        }
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
        false
    }
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
            limits: Limits::new(),
            alarm: Alarm::default(),
            asked: None,
            tunnel: false,
            acknowledged: None,
            unfinished: None,
            requests_before: 0,
            requests_at_idle: 0,
            aged: None,
            cut: None,
            moment: None,
            idle_limit_passed: None,
        }
    }

    pub(super) fn limits(mut self, limits: Limits) -> Self {
        let age = limits.age.map(limits::jittered);
        self.aged = age.and_then(|age| self.idleness.accepted.checked_add(age));
        self.cut = limits
            .age_grace
            .and_then(|grace| timer::later(self.aged, grace));
        self.limits = limits;
        self
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
        self.idleness.set_idle(true, false);
        if self.unfinished.is_none() {
            self.unfinished = timer::later(Some(Instant::now()), self.limits.handshake);
        }
        let next = self.look(cx, |this, due, cx| {
            let silence = match this.idleness.poll_draining(cx) {
                Poll::Ready(begun) => this.idleness.end(true, begun),
                Poll::Pending => None,
            };
            if due.has_passed(this.unfinished) || due.has_passed(silence) {
                Next::Cut
            } else {
                Next::Wait
            }
        });
        match next {
            Next::Wait => Poll::Pending,
            Next::Ask | Next::Cut => Poll::Ready(()),
        }
    }

    /// Notes that the handshake is complete: its time limit ends with it.
    pub(super) fn handshake_done(&mut self) {
        self.unfinished = None;
        self.alarm = Alarm::default();
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
        let exactly = self.limits.idle.is_some();
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

    /// Returns what to do now, and has the task woken when that may change.
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
        if self.is_head_late(due) {
            return Next::Cut;
        }
        let stopping = Pin::new(&mut self.lame_duck).poll(cx).is_ready();
        if !stopping && !self.limits.apply_while_running() {
            // Aborting begins with lame duck, or after it.
            return Next::Wait;
        }
        self.decide_to_leave(stopping, due, cx)
    }

    /// Returns whether a head has begun and is not complete in time (Z13).
    #[inline]
    fn is_head_late(&mut self, due: &mut Due) -> bool {
        let reading = (self.activity.as_ref()).filter(|activity| activity.is_reading_head());
        let Some(activity) = reading else {
            self.unfinished = None;
            return false;
        };
        let requests = activity.requests();
        if self.requests_before != requests {
            // The next head has begun in the same poll that completed the last one.
            self.requests_before = requests;
            self.unfinished = None;
        }
        if self.unfinished.is_none() {
            self.unfinished = timer::later(Some(Instant::now()), self.limits.head);
        }
        due.has_passed(self.unfinished)
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
        if due.has_passed(self.cut) {
            self.cut = None;
            if self.idleness.since(self.idleness.accepted).is_none() {
                return Next::Cut;
            }
            if self.asked.is_none() {
                return Next::Ask;
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

    /// Has the peer told to leave if there is a reason. Returns since when there has been one that
    /// ends an idle connection of HTTP/1, too; `begun` is when draining began.
    fn tell(&mut self, stopping: bool, begun: Option<Instant>, due: &mut Due) -> Option<Instant> {
        if due.has_passed(self.aged) {
            self.aged = None;
            self.set_leaving();
        }
        if due.has_passed(self.idle_end()) {
            self.idle_limit_passed = due.now;
            self.set_leaving();
        }
        let stopped = if self.limits.spread.is_zero() {
            begun
        } else {
            self.tell_in_window(stopping, begun, due)
        };
        match (stopped, self.idle_limit_passed) {
            (Some(stopped), Some(idle)) => Some(stopped.min(idle)),
            (stopped, idle) => stopped.or(idle),
        }
    }

    /// Returns when the connection will have been idle for too long, unless that has come.
    fn idle_end(&self) -> Option<Instant> {
        let limit = self.limits.idle?;
        if self.idle_limit_passed.is_some() {
            return None;
        }
        let idle = self.idleness.since(self.idleness.accepted)?;
        // A tunnel is not idle, whether anything is sent through it or not.
        let tunnel = self.activity.as_ref().is_some_and(Activity::has_tunnel);
        timer::later(Some(idle), limit.checked_add(IDLE_BUFFER)?).filter(|_| !tunnel)
    }

    /// Has the peer told to leave at its moment, once the server stops. Returns since when an idle
    /// connection of HTTP/1 has been told, once draining has begun.
    fn tell_in_window(
        &mut self,
        stopping: bool,
        begun: Option<Instant>,
        due: &mut Due,
    ) -> Option<Instant> {
        let spared = self.activity.as_ref().is_some_and(Activity::is_spared);
        if !stopping || spared && begun.is_none() {
            return None;
        }
        let moment = self.moment(begun, due);
        if !self.is_leaving() {
            if !due.has_passed(Some(moment)) {
                return None;
            }
            self.set_leaving();
        }
        begun.map(|begun| begun.max(moment))
    }

    /// Returns when the connection is told to leave. It is drawn once, and once more if a deadline
    /// becomes known into which it doesn't fit: a second request has cut lame duck short, or code
    /// has begun the drain by hand, which has its deadline a moment later.
    fn moment(&mut self, begun: Option<Instant>, due: &mut Due) -> Instant {
        let deadline = (self.activity.as_ref()).and_then(|activity| activity.node().deadline());
        if deadline.is_none() {
            due.has_passed(begun.and_then(|begun| begun.checked_add(LATE_DEADLINE)));
        }
        let keep_alive = self.idleness.graces.keep_alive;
        let fits = |at: Instant| {
            deadline.is_none_or(|end| at.checked_add(keep_alive).is_some_and(|at| at <= end))
        };
        match self.moment {
            Some(drawn) if drawn.deadline == deadline || self.is_leaving() || fits(drawn.at) => {
                drawn.at
            }
            _ => {
                let now = Instant::now();
                let room = deadline.map_or(Duration::MAX, |end| {
                    let left = end.saturating_duration_since(now);
                    left.saturating_sub(keep_alive)
                });
                let at = now + limits::drawn(self.limits.spread.min(room));
                self.moment = Some(Moment { at, deadline });
                at
            }
        }
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

    /// Returns what to do with a connection that was `asked` to end.
    ///
    /// hyper waits for its PING to come back, however long that takes, and then for the last
    /// stream. A peer that has sent anything since it was told is still there, and a task of the
    /// user's may be reading from one of its streams. While a stream is a tunnel, the peer need not
    /// react (Z6).
    fn next_after(&mut self, asked: Instant, due: &mut Due) -> Next {
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
        let since = (self.idleness.since(asked)).filter(|_| !reacted);
        let since = since.map(|since| since.max(self.acknowledged_at(asked)));
        if due.has_passed(timer::later(since, GOAWAY)) {
            Next::Cut
        } else {
            Next::Wait
        }
    }
}
