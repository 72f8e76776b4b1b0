//! What [`Shutdown`](crate::Shutdown) works with: requests to stop, and the ends of servers.

pub(crate) mod builder;
mod finish;
mod hooks;
pub(crate) mod progress;
mod requests;
mod server_end;
mod stages;
pub(crate) mod timer;
mod watchdog;

pub use requests::StopRequest;
pub use server_end::ServerEnd;
