use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use ::hyper::header::HeaderValue;

use crate::net;

/// Limits what peers may take, and how long their connections may live; see
/// [`Server::limits`](super::Server::limits).
///
/// A connection that has reached a limit of its own ends as all do when the server stops: its peer
/// is told before, and a request that is under way is answered. A duration that overflows
/// [`Instant`](std::time::Instant) means no limit.
///
/// ```
/// # use std::time::Duration;
/// use async_drain::hyper::Limits;
///
/// // Behind a balancer that closes what has been idle for 60 seconds.
/// let limits = Limits::new()
///     .idle(Duration::from_secs(75))
///     .age(Duration::from_secs(3600))
///     .connections(10_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    pub(super) head: Duration,
    pub(super) handshake: Duration,
    pub(super) idle: Option<Duration>,
    pub(super) age: Option<Duration>,
    pub(super) age_grace: Option<Duration>,
    pub(super) connections: usize,
    pub(super) spread: Duration,
}

impl Limits {
    /// Returns the default limits: 30 seconds for a request's head, 10 for a handshake, and no
    /// other.
    #[must_use]
    pub fn new() -> Self {
        Self::DEFAULT
    }

    pub(super) const DEFAULT: Self = Self {
        head: Duration::from_secs(30),
        handshake: Duration::from_secs(10),
        idle: None,
        age: None,
        age_grace: None,
        connections: usize::MAX,
        spread: Duration::ZERO,
    };

    /// Sets how long a request's head may take from its first byte to its last, which in HTTP/2 is
    /// that of its last CONTINUATION. The preface of HTTP/2, together with the SETTINGS behind it,
    /// has the same limit.
    ///
    /// The time between two requests is not limited by this.
    #[must_use]
    pub fn head(mut self, limit: Duration) -> Self {
        self.head = limit;
        self
    }

    /// Sets how long a handshake may take.
    #[must_use]
    pub fn handshake(mut self, limit: Duration) -> Self {
        self.handshake = limit;
        self
    }

    /// Sets how long a connection may be idle; without limit by default.
    ///
    /// Choose it longer than the idle timeout of the balancer in front, so that the balancer closes
    /// first. Answers of HTTP/1 advertise it in whole seconds (`Keep-Alive: timeout=75`), unless
    /// they close the connection or their handler sets `Connection` itself. After the limit, the
    /// connection stays open for another second, since a request that was sent just in time takes a
    /// while to arrive. Then the keep-alive grace begins, in which one more request is answered
    /// with `Connection: close`; at its end the connection is closed. HTTP/2 is told by two GOAWAYs
    /// after that second.
    ///
    /// A silent connection counts as idle; a tunnel does not. An answer that has no other
    /// header costs the allocation of its header map.
    #[must_use]
    pub fn idle(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// Sets the age from which on a peer is told to connect anew, so that load moves to new servers
    /// and certificates are replaced; without limit by default.
    ///
    /// Each connection draws its own, up to a tenth shorter or longer, so that those that were
    /// opened together don't end together. From then on the connection is treated as in lame duck:
    /// the next answer of HTTP/1 says `Connection: close`, and HTTP/2 is told by two GOAWAYs. An
    /// idle connection of HTTP/1 stays open until its next request, its [idle limit](Self::idle) or
    /// its [age grace](Self::age_grace).
    ///
    /// Handlers are told by an [`Observer`](crate::Observer) of their connection, which each
    /// request carries as an extension. It observes a [child](crate::Drain::child) of the server's
    /// drain, which begins when the age has come, when the server's drain begins, or when the
    /// connection has ended. Take [`guard`](crate::Observer::guard)s of it, since
    /// [`admit`](crate::Observer::admit) refuses requests that were on their way. An upgraded
    /// connection, such as a WebSocket, has the age of the connection that it was.
    ///
    /// ```
    /// # use async_drain::Observer;
    /// # use ::hyper::{Request, StatusCode, body::Incoming};
    /// # async fn next_event() {}
    /// # async fn send_events(request: Request<Incoming>) -> Result<(), async_drain::Drained> {
    /// if let Some(connection) = request.extensions().get::<Observer>() {
    ///     let guard = connection.guard()?;
    ///     while guard.run_until_draining(next_event()).await.is_some() {
    ///         // ...
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// A limited age costs each connection the memory of a child, and each request three
    /// allocations.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// Sets how long after its [age](Self::age) a connection may last, requests and streams
    /// included; without limit by default. Then it is cut.
    ///
    /// The drain of its handlers has that time as its [deadline](crate::Observer::deadline), and is
    /// aborted then. Upgraded connections and tunnels are no longer the server's and are not cut,
    /// but their tasks are told by their guards' `until_aborting`.
    ///
    /// What is cut at work is logged as a warning (feature `log`), with the peer, the connection's
    /// age and, if the drain [tracks](crate::Drain::tracked) its guards, the request. While the
    /// server runs, nothing else tells of it. Once lame duck or draining has begun, it counts as
    /// abandoned in the report.
    #[must_use]
    pub fn age_grace(mut self, grace: Duration) -> Self {
        self.age_grace = Some(grace);
        self
    }

    /// Sets how many connections may be open; without limit by default. While there are that many,
    /// new ones wait in the kernel's queue.
    ///
    /// Upgraded connections count. While the server stops, the limit does not apply: what is in the
    /// queue is answered.
    ///
    /// # Panics
    ///
    /// Panics if `limit` is zero, with which the server would accept none.
    #[must_use]
    #[track_caller]
    pub fn connections(mut self, limit: usize) -> Self {
        net::check_connections(limit);
        self.connections = limit;
        self
    }

    /// Sets the time over which peers are told to leave once the server stops; zero by default,
    /// which tells all of them at once.
    ///
    /// Peers that are told at the same moment connect anew at the same moment, to the servers that
    /// are left. Each connection draws its moment from this window, which begins with lame duck, or
    /// with draining if there is none. The window ends early enough for the keep-alive grace and
    /// the close to fit into the grace period; if it is longer than that, the hooks of
    /// [`on_progress`](crate::Shutdown::on_progress) are warned.
    #[must_use]
    pub fn spread(mut self, window: Duration) -> Self {
        self.spread = window;
        self
    }

    /// Returns whether a connection may be asked to leave while the server runs.
    #[inline]
    pub(super) fn apply_while_running(&self) -> bool {
        self.idle.is_some() || self.age.is_some()
    }

    /// Returns what answers advertise.
    fn advertised(&self) -> Option<HeaderValue> {
        let limit = self
            .idle
            .filter(|&limit| Instant::now().checked_add(limit).is_some());
        let seconds = limit?.as_secs();
        // Less than a second is nothing to count on, and the header has whole seconds.
        HeaderValue::from_str(&format!("timeout={seconds}"))
            .ok()
            .filter(|_| seconds > 0)
    }
}

/// The limits that the connections of a server share.
#[derive(Debug)]
pub(super) struct SharedLimits {
    limits: Limits,
    /// The idle limit that answers advertise, if there is one.
    pub(super) advertised: Option<HeaderValue>,
}

impl SharedLimits {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            advertised: limits.advertised(),
            limits,
        })
    }
}

impl Deref for SharedLimits {
    type Target = Limits;

    fn deref(&self) -> &Limits {
        &self.limits
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a part of `window` that is drawn anew at each call.
pub(super) fn drawn(window: Duration) -> Duration {
    // The keys of each `RandomState` differ from those of the last.
    let random = RandomState::new().build_hasher().finish() >> 32;
    let random = u32::try_from(random).unwrap_or(u32::MAX);
    // Longer than any program runs, and far from overflowing.
    let window = window.min(Duration::from_secs(u32::MAX.into()));
    window.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// Returns a duration between nine and eleven tenths of `age`.
pub(super) fn jittered(age: Duration) -> Duration {
    (age / 10 * 9).saturating_add(drawn(age / 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that were opened together don't end together, and none much early or late.
    #[test]
    fn ages_differ_by_up_to_a_tenth() {
        let age = Duration::from_secs(100);
        let ages: Vec<_> = (0..1_000).map(|_| jittered(age)).collect();
        let (first, last) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!((90..91).contains(&first.as_secs()), "{first:?}");
        assert!((109..110).contains(&last.as_secs()), "{last:?}");
        // With any jitter, it means no limit. Clocks of Unix don't reach that far.
        let now = Instant::now();
        let end = now.checked_add(jittered(Duration::MAX));
        let ages = Duration::from_secs(u64::from(u32::MAX));
        assert!(end.is_none_or(|end| end - now > ages), "{end:?}");
    }

    /// A server that accepts nothing would only look like one that hangs.
    #[test]
    #[should_panic(expected = "a limit of 0 connections accepts none")]
    fn a_limit_of_no_connections_is_refused() {
        let _ = Limits::new().connections(0);
    }

    #[test]
    fn whole_seconds_are_advertised() {
        let advertised = |limit| Limits::new().idle(limit).advertised();
        assert_eq!(
            advertised(Duration::from_millis(7_900)).unwrap(),
            "timeout=7"
        );
        assert_eq!(advertised(Duration::from_millis(999)), None);
        // It means no limit.
        assert_eq!(advertised(Duration::MAX), None);
        assert_eq!(Limits::new().advertised(), None);
    }
}
