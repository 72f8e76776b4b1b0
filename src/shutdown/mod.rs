//! What [`Shutdown`](crate::Shutdown) works with: requests to stop, the ends of servers, and steps.

pub(crate) mod builder;
mod calls;
mod finish;
mod fit;
pub(crate) mod hooks;
pub(crate) mod progress;
mod relay;
mod requests;
mod server_end;
mod stages;
pub(crate) mod steps;
pub(crate) mod timer;
mod watchdog;

pub use fit::DoesNotFit;
pub use requests::StopRequest;
pub use server_end::ServerEnd;
pub use steps::Step;
