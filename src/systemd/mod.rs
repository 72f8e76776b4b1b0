//! Services of systemd: socket activation, readiness, status, and timeouts that fit the shutdown.
//!
//! [`listeners`] takes the sockets that systemd listens on, [`notify`] tells it how the service is
//! getting on, and [`store`] has it keep listeners while the service restarts. All three work with
//! other supervisors that speak these protocols, and do nothing where there is none.

mod listeners;
mod notify;
mod socket;
mod store;

pub use listeners::{Listeners, listeners};
pub use notify::notify;
pub use store::store;
