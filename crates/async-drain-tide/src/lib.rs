//! Graceful shutdown for tide and async-h1, built on [`async_drain`].
//!
//! An application that listens on a [`DrainListener`] loses no request when it stops. If it must
//! keep its own listener, a [`DrainMiddleware`] counts requests, and can do no more. On async-h1
//! without tide, with any executor, use a [`Driver`].
//!
//! tide, async-h1, http-types and async-std are discontinued. This is a crate of its own so that
//! they stay out of the `Cargo.lock` of other users of async-drain. Build a new server on hyper:
//! `async_drain::hyper::Server` keeps the same promises.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `tide` (default) | [`DrainListener`] and [`DrainMiddleware`], beside the [`Driver`] |
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

/// Compiles the program in the README.
#[cfg(all(doctest, feature = "tide"))]
#[doc = include_str!("../README.md")]
struct Readme;
