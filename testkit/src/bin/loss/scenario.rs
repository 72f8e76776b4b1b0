//! The scenarios by name.

use crate::closed_loop;
use crate::early::Protocol;
use crate::in_flight::{self, InFlight};
use crate::round::Round;
use crate::shared::{self, Passed};
use crate::split::{self, Split};
use crate::steady::{self, Load};
use crate::{arrivals, behind, early, pipelined, queued, slow2, storm, tunnel};
use std::io::Result;
use std::time::Duration;
use testkit::meter::http1::Http1;
use testkit::meter::http2::Http2;
use testkit::meter::http10::Http10;
use testkit::meter::tally::Tally;

/// What the clients are doing when the signal arrives.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Clients at once, unless the command line says otherwise.
    pub(crate) connections: usize,
    /// Servers started and stopped, unless the command line says otherwise.
    pub(crate) rounds: usize,
    /// The application protocol, where the connection is TLS.
    pub(crate) tls: Option<&'static str>,
    /// The server's settings, in place of the common ones.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Keep-alive connections at this latency, in milliseconds.
    KeepAlive(u64),
    /// The same with HTTP/2.
    KeepAlive2(u64),
    /// The same with HTTP/1.0.
    KeepAlive10,
    Storm,
    Arrivals,
    Queued,
    Pipelined,
    Split(fn() -> Split),
    InFlight(fn() -> InFlight),
    /// The same, and the signal is sent twice.
    Twice(fn() -> InFlight),
    /// Half a head behind an answered request.
    Behind,
    /// HTTP/2 readers that flow control slows.
    Slow2,
    Early(Protocol),
    Tunnel(Protocol),
    /// Two generations on one socket.
    Shared(Passed),
    /// A server that runs, and has limits of its own.
    Steady(Load),
    /// The same with HTTP/2.
    Steady2(Load),
}

/// Longer than any timer but the grace period.
const LAME_DUCK: &[(&str, &str)] = &[("LAME_DUCK_MS", "6500")];
/// As long as a few requests take.
const SHORT_LAME_DUCK: &[(&str, &str)] = &[("LAME_DUCK_MS", "500")];

const IDLE: &[(&str, &str)] = &[("IDLE_MS", "1500")];
const AGE: &[(&str, &str)] = &[("AGE_MS", "1000")];

/// Every scenario, in the order of `--scenario all`, which leaves out those over TLS.
///
/// The closed loops spread 480 connections over rounds where a short cycle would make one round a
/// test of throughput.
pub(crate) const SCENARIOS: &[Scenario] = &[
    plain("keepalive-0", 96, 5, Kind::KeepAlive(0)),
    plain("keepalive-5", 96, 5, Kind::KeepAlive(5)),
    plain("keepalive-50", 480, 1, Kind::KeepAlive(50)),
    plain("storm", 8, 10, Kind::Storm),
    plain("arrivals", 600, 10, Kind::Arrivals),
    plain("queued", 50, 20, Kind::Queued),
    plain("silent", 50, 1, Kind::Split(split::silent)),
    plain("half-head", 50, 1, Kind::Split(split::half_head)),
    plain("upload", 50, 1, Kind::Split(split::upload)),
    plain("pipelined", 50, 2, Kind::Pipelined),
    plain("stream", 20, 1, Kind::InFlight(in_flight::stream)),
    plain("big", 4, 1, Kind::InFlight(in_flight::big)),
    plain("big-frame", 4, 1, Kind::InFlight(in_flight::big_frame)),
    plain("two-signals", 20, 1, Kind::Twice(in_flight::stream)),
    plain("unread-body", 100, 1, Kind::Split(split::unread_body)),
    plain("h2-keepalive-0", 96, 5, Kind::KeepAlive2(0)),
    plain("h2-keepalive-5", 96, 5, Kind::KeepAlive2(5)),
    plain("h2-keepalive-50", 480, 1, Kind::KeepAlive2(50)),
    plain("http10-keepalive", 50, 2, Kind::KeepAlive10).with(SHORT_LAME_DUCK),
    plain("half-head-behind", 50, 1, Kind::Behind),
    plain("early-answer", 20, 1, Kind::Early(Protocol::Http1)),
    plain("h2-early-answer", 20, 1, Kind::Early(Protocol::Http2)),
    plain("shared", 8, 3, Kind::Shared(Passed::Declared)),
    plain("shared-undeclared", 8, 3, Kind::Shared(Passed::Undeclared)),
    plain("h2-slow", 10, 1, Kind::Slow2),
    plain("h2-slow-lame-duck", 10, 1, Kind::Slow2).with(LAME_DUCK),
    plain("tunnel", 20, 1, Kind::Tunnel(Protocol::Http1)).with(LAME_DUCK),
    plain("h2-tunnel", 20, 1, Kind::Tunnel(Protocol::Http2)).with(LAME_DUCK),
    plain("idle", 300, 1, Kind::Steady(Load::AtTheLimit)).with(IDLE),
    plain("h2-idle", 300, 1, Kind::Steady2(Load::AtTheLimit)).with(IDLE),
    plain("age", 96, 1, Kind::Steady(Load::Busy)).with(AGE),
    plain("h2-age", 96, 1, Kind::Steady2(Load::Busy)).with(AGE),
    over_tls("tls-keepalive-0", "http/1.1", 96, 1, Kind::KeepAlive(0)),
    over_tls("tls-keepalive-5", "http/1.1", 96, 1, Kind::KeepAlive(5)),
    over_tls("tls-keepalive-50", "http/1.1", 96, 1, Kind::KeepAlive(50)),
    over_tls("tls-h2-keepalive-0", "h2", 96, 1, Kind::KeepAlive2(0)),
    over_tls("tls-h2-keepalive-5", "h2", 96, 1, Kind::KeepAlive2(5)),
    over_tls("tls-h2-keepalive-50", "h2", 96, 1, Kind::KeepAlive2(50)),
];

const fn plain(name: &'static str, connections: usize, rounds: usize, kind: Kind) -> Scenario {
    Scenario {
        name,
        connections,
        rounds,
        tls: None,
        settings: &[],
        kind,
    }
}

const fn over_tls(
    name: &'static str,
    protocol: &'static str,
    connections: usize,
    rounds: usize,
    kind: Kind,
) -> Scenario {
    Scenario {
        name,
        connections,
        rounds,
        tls: Some(protocol),
        settings: &[],
        kind,
    }
}

impl Scenario {
    /// Returns the same scenario with these settings of the server.
    const fn with(mut self, settings: &'static [(&'static str, &'static str)]) -> Self {
        self.settings = settings;
        self
    }

    /// Returns how the server gets its listener, if it doesn't make one.
    pub(crate) fn passed(&self) -> Option<Passed> {
        match self.kind {
            Kind::Shared(passed) => Some(passed),
            _ => None,
        }
    }

    /// Plays one round: clients, signal, and what the clients saw until the last one ended.
    pub(crate) async fn play(&self, round: &Round<'_>) -> Result<Tally> {
        match self.kind {
            Kind::KeepAlive(latency) => {
                closed_loop::run::<Http1>(round, Duration::from_millis(latency)).await
            }
            Kind::KeepAlive2(latency) => {
                closed_loop::run::<Http2>(round, Duration::from_millis(latency)).await
            }
            Kind::KeepAlive10 => closed_loop::run::<Http10>(round, Duration::ZERO).await,
            Kind::Storm => storm::run(round).await,
            Kind::Arrivals => arrivals::run(round).await,
            Kind::Queued => queued::run(round).await,
            Kind::Pipelined => pipelined::run(round).await,
            Kind::Split(split) => split().run(round).await,
            Kind::InFlight(in_flight) => in_flight().run(round).await,
            Kind::Twice(in_flight) => in_flight().run_twice(round).await,
            Kind::Behind => behind::run(round).await,
            Kind::Slow2 => slow2::run(round).await,
            Kind::Early(protocol) => early::run(round, protocol).await,
            Kind::Tunnel(protocol) => tunnel::run(round, protocol).await,
            Kind::Shared(_) => shared::run(round).await,
            Kind::Steady(load) => steady::run::<Http1>(round, load).await,
            Kind::Steady2(load) => steady::run::<Http2>(round, load).await,
        }
    }
}
