//! Accept loops and connections for any protocol, without loss.
//!
//! [`Drain::accept`](crate::Drain::accept) accepts connections until draining begins, and then
//! retires its listener without losing a connection in its queue. Each accepted connection is a
//! [`Linger`], whose close loses nothing of what was written. [`idle`] tells how long a connection
//! without requests is kept once draining has begun.

mod accept;
mod backoff;
mod delivery;
pub mod idle;
mod incoming;
mod linger;
mod listening;
mod os;
#[cfg(unix)]
mod passed;
mod retire;
mod retired;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod testing;
mod transport;
#[cfg(unix)]
mod unix_path;

#[cfg(all(feature = "systemd", target_os = "linux"))]
pub(crate) use accept::OsListener;
pub use accept::{Accept, Connections, Group, IntoAccept, Queue, Shared};
#[cfg(feature = "hyper")]
pub(crate) use delivery::Delivery;
#[cfg(feature = "hyper")]
pub(crate) use delivery::Expected;
#[cfg(feature = "hyper")]
pub(crate) use incoming::check_connections;
pub use incoming::{Connection, Incoming};
pub use linger::Linger;
#[cfg(feature = "hyper")]
pub(crate) use linger::STALL_LIMIT;
#[cfg(unix)]
pub use listening::bind_unix;
#[cfg(all(feature = "systemd", target_os = "linux"))]
pub(crate) use listening::{Holders, Listening};
#[cfg(all(fuzzing, target_os = "linux"))]
pub use os::connection_requests_property;
#[cfg(all(feature = "systemd", target_os = "linux"))]
pub(crate) use passed::note as note_passed;
pub use retired::{Retired, retire};
pub use transport::Transport;
