//! When to ask a connection to end, and when to cut it (Z2 Z4 Z6 Z9 Z12 Z13 Z14).
//!
//! A peer is told to leave in the heads of answers (`Activity::is_leaving`) and, over HTTP/2, by
//! GOAWAY. Why: lame duck or draining has begun; the connection's age has come; or it was idle for
//! too long. This file decides all of that, on one timer.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    activity::Activity,
    age::{Age, Aged},
    alarm::Alarm,
    graceful::GracefulConnection,
    limits::{self, Limits, SharedLimits},
};
use crate::{
    Observer, Phase,
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

/// How long after draining has begun the deadline is looked for again, if there was none; then
/// after twice that, and so on.
const LATE_DEADLINE: Duration = Duration::from_millis(100);

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
    /// Since when the connection has had a reason of its own to leave that ends it once it is idle:
    /// it has been idle for too long, or it is aged and its activity isn't known.
    expired: Option<Instant>,
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
    /// Cut it at work, because its age grace is over.
    CutByAge,
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

    /// Ready when a handshake that is still under way is to be given up.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_aborting(cx).is_ready() {
            return Poll::Ready(());
        }
        self.idleness.set_idle(true, false);
        if self.unfinished.is_none() {
            self.unfinished = timer::later(Some(Instant::now()), self.limits().handshake);
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
            Next::Ask | Next::Cut | Next::CutByAge => Poll::Ready(()),
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
        if !stopping && !self.limits().apply_while_running() {
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
            self.unfinished = timer::later(Some(Instant::now()), self.limits().head);
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

    /// Ends the connection because its age grace is over. Returns `None` if it was asked to before,
    /// and is idle.
    fn end_by_age(&mut self) -> Option<Next> {
        let age = self.age.as_mut()?;
        age.cut = None;
        if let Some(handlers) = self.activity.as_ref().and_then(Activity::handlers) {
            handlers.abort(age);
        }
        // A connection whose activity is not known is always at work.
        if self.activity.is_none() || self.idleness.since(self.idleness.accepted).is_none() {
            return Some(Next::CutByAge);
        }
        self.asked.is_none().then_some(Next::Ask)
    }

    /// Notes that the connection is cut at work, because its age grace is over. That is in the
    /// report if the shutdown is under way, and in the log.
    #[cfg_attr(
        not(feature = "log"),
        allow(clippy::unused_self, reason = "only the log names the age")
    )]
    pub(super) fn cut_by_age(&self, guard: Option<&mut ConnectionGuard>) {
        let Some(guard) = guard else {
            return;
        };
        #[cfg(feature = "log")]
        if let Some(age) = &self.age {
            age.of.name_cut_connection(guard);
        }
        if guard.phase() > Phase::Running {
            guard.abandon();
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

    /// Has the peer and the handlers told that the connection's age has come.
    fn tell_of_age(&mut self, due: &Due) {
        let Some(age) = &mut self.age else {
            return;
        };
        age.at = None;
        let Some(activity) = &self.activity else {
            self.expired = due.now;
            return;
        };
        // The peer first: what a handler that is told answers at once says so.
        activity.set_leaving();
        if let Some(handlers) = activity.handlers() {
            handlers.begin(age);
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
            let mut late = LATE_DEADLINE;
            while due.has_passed(timer::later(begun, late)) {
                late = late.saturating_mul(2);
            }
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
                    let room = left.saturating_sub(keep_alive);
                    // The close that follows takes time, too.
                    room.mul_f64(0.9)
                });
                let at = now + limits::drawn(self.limits().spread.min(room));
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
