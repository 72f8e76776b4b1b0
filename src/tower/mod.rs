//! A guard for each request, for the services of tower, axum and tonic: [`DrainLayer`].
//!
//! It counts requests and names them. It must not decide when the process exits: the guard of a
//! request ends with the last byte that is handed to the server, and a slow reader has not received
//! that byte yet. What decides is the guard of the connection, which `hyper::Server` and
//! `Drain::accept` take.

mod layer;
mod service;

pub use self::{layer::DrainLayer, service::DrainService};
pub use crate::http::{Answer, Respond};
