//! A guard for each request, for the services of tower, axum and tonic: [`DrainLayer`].
//!
//! It counts requests and names them. It must not decide when the process exits: a request's guard goes with the last
//! byte that is handed to the server, and a slow reader has not had that byte yet. What decides is
//! the guard of the connection, which `hyper::Server` and `Drain::accept` take.

mod body;
mod future;
mod layer;
mod service;

pub use body::GuardedBody;
pub use future::GuardedResponse;
pub use layer::DrainLayer;
pub use service::DrainService;
