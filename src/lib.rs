//! Graceful shutdown for programs that do not run on tokio: every piece of work holds a guard, a signal begins the
//! drain, and a timed wait on the guards decides when to stop.
//!
//! ```text
//!  signal ──► lame duck ──► draining ───────────► drained ──► report
//!             still          no new connections,     ▲
//!             accepting,     work in flight          │ the last guard
//!             unready        finishes │              │
//!                                     └ grace over ► aborting: work is cut
//! ```
//!
//! ```
//! use async_drain::Drain;
//!
//! let drain = Drain::new();
//! let guard = drain.guard()?; // one piece of work
//!
//! std::thread::scope(|scope| {
//!     scope.spawn(move || {
//!         // ... the work ...
//!         drop(guard);
//!     });
//!     drain.begin(); // no new work from here on
//!     drain.until_drained().wait(); // woken by the last guard, with no polling
//! });
//! # Ok::<(), async_drain::Drained>(())
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | guard, in-flight | a [`Guard`] is one piece of work that must finish; [`in_flight`](Drain::in_flight) counts them |
//! | lame duck | still accepting, already unready and telling peers to leave |
//! | draining | no new connections; work in flight finishes |
//! | aborting | the grace period is over or the operator insisted: work is cut |
//! | drained | draining had begun and no guard is left. Final |
//! | grace period | the longest that draining may last; the abort grace, the longest that aborting may last after it |
//! | straggler | a guard still alive when its time is up |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `async-io` (default) | durations, by async-io's reactor |
//! | `signal` | [`signal::termination`]: SIGTERM and SIGINT as a stream |
//! | `net` | [`Drain::accept`]: an accept loop that loses no connection; [`net::Linger`], a close that loses no answer |
//! | `hyper` | [`hyper::Server`] and [`Drain::watch`]: HTTP/1 and HTTP/2 that lose no request |
//! | `tower` | [`tower::DrainLayer`]: a guard for each request, under any server |
//! | `swansong` | [`Drain::drive`]: one drain for trillium and whatever else is on swansong |
//!
//! # Costs, and when to use something else
//!
//! A guard costs about two atomic instructions on memory that no other core writes, allocates nothing, and is one
//! pointer; waiting for a phase costs a lock when it is first polled and a load after that. To wait for
//! a set of tasks that is known, join them. To be told to stop and no more, a cancellation token is smaller.
//! On tokio there is `tokio_util::task::TaskTracker`; this crate's core works there too.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
// What only some features use is not dead in the others: the core doesn't know them.
#[cfg_attr(
    not(all(feature = "net", feature = "hyper", feature = "tower")),
    allow(dead_code, unreachable_pub)
)]
mod drain;
mod error;
mod ext;
#[cfg(any(feature = "hyper", feature = "tower"))]
mod http;
#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub mod hyper;
#[cfg(feature = "net")]
#[cfg_attr(docsrs, doc(cfg(feature = "net")))]
pub mod net;
mod report;
pub mod shutdown;
#[cfg(feature = "signal")]
#[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
pub mod signal;
#[cfg(feature = "swansong")]
#[cfg_attr(docsrs, doc(cfg(feature = "swansong")))]
pub mod swansong;
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub mod tower;

pub use crate::{
    drain::{BeginOnDrop, Drain, Observer, guard::Guard, phase::Phase},
    error::{Aborted, Drained, Refused},
    report::{Report, Straggler, Stragglers},
    shutdown::builder::Shutdown,
};

/// The futures and streams that the methods of this crate return, by name.
pub mod futures {
    pub use crate::{
        drain::until::{UntilAborting, UntilDrained, UntilDraining, UntilLameDuck},
        ext::{Guarded, RunUntilAborting, RunUntilDraining},
    };
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
