use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_io::Timer;

use crate::{Drain, Phase, UntilDraining, sync::Arc, time, tree::Core};

/// How long connections may still bring requests after draining has begun.
#[derive(Clone, Copy, Debug)]
pub struct Graces {
    /// How long an idle one may place one more; one second by default. Zero closes it at once.
    pub keep_alive: Duration,
    /// How long one that has sent nothing may send its first, from its accept on; five seconds by default. It is
    /// never shorter than the keep-alive grace.
    pub first_request: Duration,
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

/// How long a connection with nothing to do is kept once draining has begun (Z2 Z4 Z9).
///
/// Its user reads what has arrived, tells whether the connection is idle, and then [polls](Self::poll).
#[derive(Debug)]
pub struct Patience {
    draining: UntilDraining,
    pub(crate) graces: Graces,
    accepted: Instant,
    /// When draining was first seen here.
    begun: Option<Instant>,
    idle: Idle,
    alarm: Alarm,
}

impl Patience {
    /// For a connection that has just been accepted. It is no handle of the drain.
    #[must_use]
    pub fn new(drain: &Drain, graces: Graces) -> Self {
        Self::of(drain.core(), graces)
    }

    pub(crate) fn of(core: &Arc<Core>, graces: Graces) -> Self {
        Self {
            draining: UntilDraining::new(core),
            graces,
            accepted: Instant::now(),
            begun: None,
            idle: Idle::No,
            alarm: Alarm::default(),
        }
    }

    /// Tells whether the connection is idle: no head begun, no request unanswered, no byte unwritten.
    pub fn set_idle(&mut self, idle: bool) {
        self.idle = match self.idle {
            _ if !idle => Idle::No,
            Idle::No if self.draining.phase() == Phase::Running => Idle::Long,
            Idle::No => Idle::Since(Instant::now()),
            since => since,
        };
    }

    #[cfg(feature = "hyper")]
    pub(crate) fn idle_after(&self, told: Instant) -> Option<Instant> {
        self.idle.after(told)
    }

    /// Ready when the connection has been idle for too long, and its peer is to be left. `silent`: it has never brought
    /// a request.
    pub fn poll(&mut self, silent: bool, cx: &mut Context<'_>) -> Poll<()> {
        let begun = match self.begun {
            Some(begun) => begun,
            None => {
                ready!(Pin::new(&mut self.draining).poll(cx));
                *self.begun.insert(Instant::now())
            }
        };
        let deadline = match self.idle.after(begun) {
            None => None,
            Some(_) if silent => self.graces.first_request(self.accepted, begun),
            Some(idle) => self.graces.keep_alive(idle),
        };
        self.alarm.poll(deadline, cx)
    }
}

/// Since when a connection is idle.
#[derive(Clone, Copy, Debug)]
enum Idle {
    No,
    /// Since before anybody was told to leave. Since when exactly nobody will ask, and a clock is not read for each request.
    Long,
    Since(Instant),
}

impl Idle {
    /// From when on it has been idle, of the time after it was `told` to leave.
    fn after(self, told: Instant) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::Long => Some(told),
            Self::Since(idle) => Some(idle.max(told)),
        }
    }
}

/// A timer that is set again only when the time has changed.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    set: Option<(Instant, Timer)>,
}

impl Alarm {
    /// Ready at `deadline`; never, if there is none.
    pub(crate) fn poll(&mut self, deadline: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
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
