//! All unsafe code of [async-drain](https://docs.rs/async-drain), which forbids it for itself: a
//! question to the kernel about a TCP socket, the program of a group of listeners, the descriptors
//! that a supervisor has passed on, and what its signal handlers do.
//!
//! It is made for async-drain alone: use that crate instead.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod outq;
#[cfg(unix)]
pub mod passed;
#[cfg(all(feature = "net", any(target_os = "linux", target_os = "android")))]
pub mod reuseport;
#[cfg(feature = "signal")]
pub mod signal;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub use outq::unacknowledged;
