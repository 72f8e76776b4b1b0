//! Servers on hyper 1 that stop without losing a request: [`Server`], and [`Drain::watch`](crate::Drain::watch) for
//! those who write the accept loop themselves.
//!
//! hyper brings tokio's `sync` module with it and nothing else of tokio; no runtime is needed.

mod activity;
mod connection;
mod ending;
mod framing;
mod graceful;
mod handshake;
mod io;
mod limits;
mod scratch;
mod server;
mod service;
mod spawn;
mod timer;
mod unwritten;
mod upgraded;
mod watch;

pub use activity::Activity;
pub use connection::Connection;
pub use graceful::GracefulConnection;
pub use handshake::Handshake;
pub use io::Io;
pub use limits::Limits;
pub use server::Server;
pub use service::{Answer, DrainService, Respond};
pub use upgraded::FromHyper;
pub use watch::Watch;
