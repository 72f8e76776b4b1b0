//! The age of a connection, and how its handlers are told of it (Z7 Z14).

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Wake, Waker},
    time::Instant,
};

use async_io::Timer;

use super::limits::{self, Limits};
use crate::{
    Drain, Observer, Phase,
    drain::{node::Node, presence::Presence},
    shutdown::timer,
};
#[cfg(feature = "log")]
use crate::{Straggler, Stragglers, drain::connection_guard::ConnectionGuard};

/// When the age of a connection comes, and when the connection is cut because of it.
pub(super) struct Age {
    /// Taken when that time has come.
    pub(super) at: Option<Instant>,
    /// `None` means without limit; taken when that time has come.
    pub(super) cut: Option<Instant>,
    pub(super) of: Aged,
    /// Keeps the drain of the handlers from being drained while they may still take guards; set
    /// once there is one.
    pub(super) presence: Option<Presence>,
}

/// The connection whose age it is, for the log.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "log"),
    expect(dead_code, reason = "only the log names it")
)]
pub(super) struct Aged {
    pub(super) accepted: Instant,
    pub(super) peer: Option<SocketAddr>,
}

impl Age {
    /// Returns the age of a connection, if `limits` has one.
    pub(super) fn of(limits: &Limits, of: Aged, presence: Option<Presence>) -> Option<Self> {
        let age = limits::jittered(limits.age?);
        let at = of.accepted.checked_add(age);
        Some(Self {
            at,
            cut: limits.age_grace.and_then(|grace| timer::later(at, grace)),
            of,
            presence,
        })
    }
}

impl fmt::Debug for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Age")
            .field("at", &self.at)
            .field("cut", &self.cut)
            .finish_non_exhaustive()
    }
}

/// The drain by which a connection's handlers are told of its age: a child of the server's. The
/// requests carry an observer of it.
#[derive(Debug)]
pub(super) struct HandlerDrain {
    /// Kept until the socket is closed, and begun and aborted by the age. `None` if draining had
    /// begun before: `observer` is of the server's drain then.
    child: Option<Drain>,
    observer: Observer,
    /// What remains of the age of an upgraded connection, whose task has ended.
    timers: OnceLock<[Option<Timer>; 2]>,
}

impl HandlerDrain {
    /// Returns the drain of a connection, and what keeps it from being drained.
    pub(super) fn new(server: &Observer) -> (Self, Option<Presence>) {
        let child = Drain::child_of(server.node());
        // None if draining has begun: without a guard, the child was drained at once.
        let presence = Node::presence(child.node());
        let child = Some(child).filter(|_| presence.is_some());
        let drain = Self {
            observer: (child.as_ref()).map_or_else(|| server.clone(), Drain::observer),
            child,
            timers: OnceLock::new(),
        };
        (drain, presence)
    }

    #[inline]
    pub(super) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Tells the handlers that the age has come.
    pub(super) fn begin(&self, age: &Age) {
        if self.child.is_some() {
            RaiseDrain::begin(&self.observer, age).raise();
        }
    }

    /// Tells the handlers that the age grace is over, and names what they have in flight.
    pub(super) fn abort(&self, age: &Age) {
        if self.child.is_some() {
            RaiseDrain::abort(&self.observer, age).raise();
        }
    }

    /// Does both in time for an upgraded connection, whose own task has ended.
    pub(super) fn keep(&self, age: &Age) {
        if self.child.is_some() {
            let _ = self.timers.set([
                age.at
                    .map(|at| RaiseDrain::begin(&self.observer, age).at(at)),
                age.cut
                    .map(|at| RaiseDrain::abort(&self.observer, age).at(at)),
            ]);
        }
    }
}

/// Moves the drain of an aged connection's handlers to a phase, when it is woken.
struct RaiseDrain {
    drain: Observer,
    phase: Phase,
    deadline: Option<Instant>,
    #[cfg_attr(
        not(feature = "log"),
        expect(dead_code, reason = "only the log names it")
    )]
    of: Aged,
}

impl RaiseDrain {
    fn begin(drain: &Observer, age: &Age) -> Self {
        Self {
            drain: drain.clone(),
            phase: Phase::Draining,
            deadline: age.cut,
            of: age.of,
        }
    }

    fn abort(drain: &Observer, age: &Age) -> Self {
        Self {
            phase: Phase::Aborting,
            deadline: None,
            ..Self::begin(drain, age)
        }
    }

    fn raise(&self) {
        #[cfg(feature = "log")]
        if self.phase == Phase::Aborting {
            self.of.name_cut_work(&self.drain.stragglers());
        }
        self.drain.node().raise(self.phase, self.deadline);
    }

    /// Returns a timer that does it at a time.
    fn at(self, at: Instant) -> Timer {
        let this = Arc::new(self);
        let mut timer = Timer::at(at);
        let waker = Waker::from(Arc::clone(&this));
        if Pin::new(&mut timer)
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            this.raise();
        }
        timer
    }
}

impl Wake for RaiseDrain {
    fn wake(self: Arc<Self>) {
        self.raise();
    }
}

#[cfg(feature = "log")]
impl Aged {
    /// Warns that the connection is cut at work, because its age grace is over.
    pub(super) fn name_cut_connection(&self, guard: &ConnectionGuard) {
        let work = || guard.guard().seat().entry()?.straggler();
        self.name_cut(work().as_ref());
    }

    /// Warns so of what its handlers have in flight.
    fn name_cut_work(&self, work: &Stragglers) {
        for straggler in work {
            self.name_cut(Some(straggler));
        }
        if work.total() > work.iter().len() {
            self.name_cut(None);
        }
    }

    fn name_cut(&self, work: Option<&Straggler>) {
        crate::log::cut(self.peer, self.accepted.elapsed(), work);
    }
}
