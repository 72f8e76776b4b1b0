//! Servers on hyper 1 that stop without losing a request: [`Server`], and
//! [`Drain::watch`](crate::Drain::watch) for an accept loop of your own.
//!
//! Of tokio, hyper uses the modules `sync` and `io` and nothing else, so no runtime is needed.

mod activity;
mod age;
mod alarm;
mod backlog;
mod closing;
mod connection;
mod framing;
mod graceful;
mod handshake;
mod http_service;
mod io;
mod limits;
mod probes;
mod read_buffer;
mod response_data;
mod server;
mod service;
mod spawn;
mod timer;
mod upgraded;
mod watch;

pub use activity::Activity;
#[cfg(fuzzing)]
pub use framing::property as framing_property;
pub use graceful::GracefulConnection;
pub use handshake::Handshake;
pub use http_service::HttpService;
pub use io::Io;
pub use limits::Limits;
pub use probes::Probes;
pub use server::Server;
pub use upgraded::FromHyper;
pub use watch::Watch;
