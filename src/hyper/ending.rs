//! When to ask a connection to end, and when to cut it (Z2 Z4 Z9 Z12).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_io::Timer;

use super::activity::Activity;
use crate::{
    UntilAborting, UntilDraining, UntilLameDuck, standby::Standby, sync::Arc, time, tree::Core,
};

/// How long connections may still bring requests after draining has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Graces {
    pub(super) keep_alive: Duration,
    pub(super) first_request: Duration,
}

impl Default for Graces {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(1),
            first_request: Duration::from_secs(5),
        }
    }
}

impl Graces {
    /// Until when a connection may be silent that has never sent a request, a handshake included. One that
    /// has been silent for long, as browsers keep some in reserve, is like any idle one.
    fn first_request(self, accepted: Instant, begun: Instant) -> Option<Instant> {
        let since_accept = time::later(Some(accepted), self.first_request)?;
        Some(since_accept.max(self.keep_alive(begun)?))
    }

    fn keep_alive(self, idle: Instant) -> Option<Instant> {
        time::later(Some(idle), self.keep_alive)
    }
}

/// How long an HTTP/2 peer without a stream has for the answer to our PING, between the two GOAWAYs; gRPC's limit.
const GOAWAY: Duration = Duration::from_secs(5);

/// When to ask a connection to end.
#[derive(Debug)]
pub(super) struct Ending {
    lame_duck: UntilLameDuck,
    draining: UntilDraining,
    aborting: UntilAborting,
    pub(super) activity: Option<Activity>,
    pub(super) graces: Graces,
    accepted: Instant,
    /// When draining was first seen here.
    begun: Option<Instant>,
    /// Since when the connection has been idle.
    idle: Option<Instant>,
    /// When it was asked to end.
    pub(super) asked: Option<Instant>,
    timer: Alarm,
}

/// What to do with a connection that has nothing to do right now.
pub(super) enum Next {
    Wait,
    Ask,
    Cut,
}

impl Ending {
    /// For a connection that has just been accepted.
    pub(super) fn new(core: &Arc<Core>, graces: Graces) -> Self {
        Self {
            lame_duck: UntilLameDuck::new(core),
            draining: UntilDraining::new(core),
            aborting: UntilAborting::new(core),
            activity: None,
            graces,
            accepted: Instant::now(),
            begun: None,
            idle: None,
            asked: None,
            timer: Alarm::default(),
        }
    }

    pub(super) fn poll_aborting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.aborting).poll(cx)
    }

    /// Ready when a handshake that is still under way is to be given up.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_aborting(cx).is_ready() {
            return Poll::Ready(());
        }
        ready!(Pin::new(&mut self.draining).poll(cx));
        let begun = *self.begun.get_or_insert_with(Instant::now);
        self.timer
            .poll(self.graces.first_request(self.accepted, begun), cx)
    }

    /// Lets the guard say whether this is work, and which.
    pub(super) fn report(&mut self, standby: Option<&mut Standby>) {
        let idle = self.activity.as_ref().is_none_or(Activity::is_idle);
        if !idle {
            self.idle = None;
        } else if self.idle.is_none() {
            self.idle = Some(Instant::now());
        }
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
        if Pin::new(&mut self.lame_duck).poll(cx).is_pending() {
            return Next::Wait;
        }
        if self.begun.is_none() && Pin::new(&mut self.draining).poll(cx).is_ready() {
            self.begun = Some(Instant::now());
        }
        let (next, deadline) = self.plan();
        if let Next::Wait = next {
            return next;
        }
        if self.timer.poll(deadline, cx).is_ready() {
            next
        } else {
            Next::Wait
        }
    }

    /// What to do, and when.
    fn plan(&self) -> (Next, Option<Instant>) {
        let Some(activity) = &self.activity else {
            return match self.begun {
                Some(begun) if self.asked.is_none() => (Next::Ask, self.graces.keep_alive(begun)),
                _ => (Next::Wait, None),
            };
        };
        let silent = activity.requests() == 0;
        if let Some(asked) = self.asked {
            return match self.idle {
                // hyper waits for our PING to come back, however long that takes.
                Some(idle) if activity.is_http2() => {
                    (Next::Cut, time::later(Some(idle.max(asked)), GOAWAY))
                }
                _ => (Next::Wait, None),
            };
        }
        if activity.is_http2() && !silent {
            // Its peer is told at once, and loses nothing: streams that it opens meanwhile are served.
            return (Next::Ask, Some(self.accepted));
        }
        match (self.begun, self.idle) {
            (Some(begun), Some(_)) if silent => {
                (Next::Ask, self.graces.first_request(self.accepted, begun))
            }
            (Some(begun), Some(idle)) => (Next::Ask, self.graces.keep_alive(begun.max(idle))),
            // Not begun, or busy: its next answer says `close`.
            _ => (Next::Wait, None),
        }
    }
}

/// A timer that is set again only when the time has changed.
#[derive(Debug, Default)]
struct Alarm {
    set: Option<(Instant, Timer)>,
}

impl Alarm {
    /// Ready at `deadline`; never, if there is none.
    fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        let (set, timer) = self
            .set
            .get_or_insert_with(|| (deadline, Timer::at(deadline)));
        if *set != deadline {
            *set = deadline;
            timer.set_at(deadline);
        }
        Pin::new(timer).poll(cx).map(|_| ())
    }
}
