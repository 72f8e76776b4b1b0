//! Graceful shutdown for programs that do not run on tokio: a program that is told to stop finishes
//! the work in flight, in bounded time, and reports what it abandoned.
//!
//! A whole server, with the features `hyper` and `signal`:
//!
//! ```no_run
//! # #[cfg(all(feature = "hyper", feature = "signal"))] mod server {
//! use std::{convert::Infallible, io, net::TcpListener, time::Duration};
//!
//! use async_drain::{Drain, Report, Shutdown, hyper::Server, signal};
//! use async_io::Async;
//! use hyper::{Request, Response, body::Incoming, service::service_fn};
//!
//! async fn respond(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
//!     Ok(Response::new("hello\n".to_owned()))
//! }
//!
//! # pub
//! fn main() -> io::Result<Report> {
//!     let drain = Drain::tracked(); // the report names the requests that were abandoned
//!     let shutdown = Shutdown::new(&drain)
//!         .on(signal::termination()?)
//!         .grace(Duration::from_secs(8)); // docker stop kills after 10 s
//!     let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 8080))?;
//!     let server = Server::new(&drain, |task| smol::spawn(task).detach());
//!     Ok(smol::block_on(shutdown.run(server.serve(listener, service_fn(respond)))))
//! }
//! # }
//! ```
//!
//! # Start here
//!
//! - **An HTTP server.** On hyper, `hyper::Server` as above; on axum, the same with the router as
//!   the service. `Drain::watch` takes connections from an accept loop of your own, and
//!   `tower::DrainLayer` counts requests under any server. `hyper::Probes` answers the probes of
//!   balancers and of Kubernetes; `hyper::Limits` ends connections while the server runs.
//! - **A protocol of your own.** `Drain::accept` retires the listener without losing a connection,
//!   and gives each connection a guard and a close that loses no byte.
//! - **Anything else**, e.g. workers on a queue, threads, child processes: take a [`Guard`] for
//!   each piece of work, and begin the drain when it is time to stop:
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
//!     drain.until_drained().wait(); // woken by the last guard, without polling
//! });
//! # Ok::<(), async_drain::Drained>(())
//! ```
//!
//! [`Shutdown`] adds signals, the time limits and the report; [`Drain::finish`] is the same with
//! any timer and no signals.
//!
//! # The phases
//!
//! ```text
//!  signal ──► lame duck ──► draining ───────────► drained ──► report
//!             still          no new connections,     ▲
//!             accepting,     work in flight          │ the last guard
//!             unready        finishes │              │
//!                                     └ grace over ► aborting: work is cancelled
//! ```
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | guard, in flight | a [`Guard`] represents one piece of work that must finish |
//! | lame duck | still accepting, but already telling peers to leave |
//! | draining | no new connections; work in flight finishes |
//! | aborting | the grace period is over, or the operator insisted: work is cancelled |
//! | drained | draining has begun and no guard is left. Final |
//! | grace period | the longest that draining may last |
//! | abort grace | the longest that aborting may last |
//! | idle | a connection between requests: the drain waits for it, but it is not in flight |
//! | straggler | a guard that is still alive, or work that was abandoned |
//! | observer | an [`Observer`] watches a drain and takes guards, but doesn't keep it running |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `async-io` (default) | durations, by async-io's reactor |
//! | `signal` | `signal::termination`: SIGTERM and SIGINT as a stream |
//! | `net` | `Drain::accept`: accept loops; `net::Linger`: a close that loses nothing |
//! | `async-net` | listeners of async-net, which are smol's |
//! | `hyper` | `hyper::Server` and `Drain::watch`: HTTP/1 and HTTP/2 |
//! | `systemd` | socket activation, readiness, and stops that systemd waits for, on Linux |
//! | `tower` | `tower::DrainLayer`: a guard for each request, under any server |
//! | `log` | `log::progress`: what an operator reads while the program stops |
//! | `swansong` | `Drain::drive`: one drain for trillium and all else on swansong |
//!
//! # What it costs, and when to use something else
//!
//! A guard costs about two atomic instructions on memory that no other core writes to, allocates
//! nothing, and is one pointer. The guards of a child share one count. Waiting for a phase costs a
//! lock at the first poll, and a load at each later one.
//!
//! To wait for a known set of tasks, join them. To tell tasks to stop, and no more, a cancellation
//! token is smaller. On tokio there is `tokio_util::task::TaskTracker`; the core of this crate
//! works there too.
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
// Twice, since rustdoc runs no examples behind `any(doctest, docsrs)`.
#[cfg(doctest)]
mod guide;
#[cfg(all(docsrs, not(doctest)))]
pub mod guide;
#[cfg(any(feature = "hyper", feature = "tower"))]
// Exported by tower.
#[cfg_attr(not(feature = "tower"), allow(unreachable_pub))]
mod http;
#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub mod hyper;
#[cfg(feature = "log")]
#[cfg_attr(docsrs, doc(cfg(feature = "log")))]
pub mod log;
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
#[cfg(all(feature = "systemd", target_os = "linux"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "systemd", target_os = "linux"))))]
pub mod systemd;
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub mod tower;

pub use crate::{
    drain::{BeginOnDrop, Drain, Observer, guard::Guard, phase::Phase, readiness::Readiness},
    error::{Aborted, Drained, Refused},
    report::{Report, Straggler, Stragglers},
    shutdown::{builder::Shutdown, progress::Progress},
};

/// The futures and streams that the methods of this crate return, by name.
pub mod futures {
    pub use crate::{
        drain::until::{UntilAborting, UntilDrained, UntilDraining, UntilLameDuck},
        ext::{Guarded, RunUntilAborting, RunUntilDraining},
    };
}

/// What [`Readiness`] gives out.
pub mod readiness {
    pub use crate::drain::readiness::Hold;
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
