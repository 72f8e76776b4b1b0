//! Socket activation for services of systemd, and of any supervisor that passes listeners on in the
//! same way.

mod listeners;

pub use listeners::{Listeners, listeners};
