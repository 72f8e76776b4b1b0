//! Graceful shutdown for tide and async-h1, by [`async_drain`].
//!
//! Listen to a [`DrainListener`], and a stop loses no request. Those who must keep `app.listen(..)` have a
//! [`DrainMiddleware`], which counts requests and can do no more; those on bare async-h1, with whatever executor, have a
//! [`Driver`].
//!
//! tide, async-h1 and async-std are discontinued (RUSTSEC-2025-0052 is async-std's notice), which is why this is a crate
//! of its own: nobody else who uses async-drain has them in their lock. Something new is better begun on hyper, for
//! which async-drain has a server that keeps the same promises.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `tide` (default) | [`DrainListener`] and [`DrainMiddleware`]; without it only the [`Driver`] for async-h1 is left |
#![forbid(unsafe_code)]

mod ahead;
mod connection;
mod driver;
mod header;
mod io;
#[cfg(feature = "tide")]
mod listener;
#[cfg(feature = "tide")]
mod middleware;

pub use driver::Driver;
#[cfg(feature = "tide")]
pub use {listener::DrainListener, middleware::DrainMiddleware};

/// The program in the README is one that compiles.
#[cfg(all(doctest, feature = "tide"))]
#[doc = include_str!("../README.md")]
struct Readme;
