//! The progress of a shutdown as records of the `log` crate.
//!
//! Programs on `tracing` read the same records: `tracing_log::LogTracer::init()` installs a logger
//! that makes events of them, and so does `tracing_subscriber::fmt().init()` by its default
//! features. The target of all records is `async_drain`.

#[cfg(feature = "hyper")]
use std::{net::SocketAddr, time::Duration};

use log::Level;

use crate::{Phase, Progress, shutdown::progress::Named};
#[cfg(feature = "hyper")]
use crate::{Straggler, shutdown::progress::Seconds};

const TARGET: &str = "async_drain";

/// Returns a hook for [`Shutdown::on_progress`](crate::Shutdown::on_progress) that logs a line at
/// each event and, while the shutdown goes on, one in each interval of the hook.
///
/// A line says what has happened, the phase or step, how much is in flight, how long it may last
/// and, if the drain [tracks](crate::Drain::tracked) its guards, which three are the oldest. Lines
/// are warnings if an operator should look: from half of the grace period on, when work is being
/// cancelled, and when something failed; otherwise they have the level info. When aborting begins,
/// the work that is abandoned is listed as well, in at most 20 lines.
///
/// The last line of a process that is killed says that it was draining and how much was left. A
/// logger that blocks, e.g. because the reader of its pipe has stopped, blocks the other hooks, but
/// not the shutdown.
///
/// ```
/// use std::time::Duration;
/// use async_drain::{Drain, Shutdown, log};
///
/// let drain = Drain::tracked();
/// let shutdown = Shutdown::new(&drain).on_progress(Duration::from_secs(5), log::progress());
/// // INFO SIGTERM: draining, 3 in flight, at most 26 s, oldest GET /export 9.4 s, from src/x.rs:55
/// ```
pub fn progress() -> impl FnMut(&Progress) + Send + 'static {
    let mut listed = false;
    move |progress| {
        let level = if progress.warning {
            Level::Warn
        } else {
            Level::Info
        };
        if !log::log_enabled!(target: TARGET, level) {
            return;
        }
        let mut line = progress.to_string();
        if progress.phase > Phase::Running {
            for straggler in &progress.next_oldest {
                line.push_str("; ");
                line.push_str(&Named(straggler).to_string());
            }
        }
        log::log!(target: TARGET, level, "{line}");
        if progress.phase >= Phase::Aborting && !listed {
            listed = true;
            let stragglers = progress.stragglers();
            if stragglers.total() > 0 {
                for line in stragglers.to_string().lines() {
                    log::warn!(target: TARGET, "{line}");
                }
            }
        }
    }
}

/// Warns that a connection is cut at this `age`, in the middle of `work`; neither its peer nor its
/// work need be known.
#[cfg(feature = "hyper")]
pub(crate) fn cut(peer: Option<SocketAddr>, age: Duration, work: Option<&Straggler>) {
    let age = Seconds(age);
    let peer = peer.map(|peer| peer.to_string());
    let peer = peer.as_deref().unwrap_or("a connection");
    match work {
        Some(work) => {
            let work = Named(work);
            log::warn!(target: TARGET, "cut at the age of {age}: {peer}, {work}");
        }
        None => log::warn!(target: TARGET, "cut at the age of {age}: {peer}"),
    }
}
