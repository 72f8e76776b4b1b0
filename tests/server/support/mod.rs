//! What a test of a real server process needs: the process, and peers that speak to it byte by
//! byte.
//!
//! `response`, `frames` and `process` are shared with `examples/loss`, so that no protocol is
//! parsed in two places.

pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod h2;
pub(crate) mod process;
pub(crate) mod response;
