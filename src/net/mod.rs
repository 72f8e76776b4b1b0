//! Accept loops that lose no connection, for any protocol: [`Drain::accept`](crate::Drain::accept)
//! retires its listener without loss (Z1), and [`Linger`] closes a connection without loss (Z8).

mod accept;
mod backoff;
mod delivery;
pub mod idle;
mod incoming;
mod linger;
mod listening;
mod os;
mod retire;
mod transport;

pub use accept::{Accept, Connections, IntoAccept, Queue, Shared};
pub use delivery::Delivery;
#[cfg(feature = "hyper")]
pub(crate) use delivery::Expected;
pub use incoming::{Connection, Incoming};
pub use linger::Linger;
#[cfg(feature = "hyper")]
pub(crate) use linger::STALL_LIMIT;
#[cfg(unix)]
pub use listening::bind_unix;
pub use transport::{Plain, Transport};
