//! The examples, each as the process that an operator sees.

mod axum;
mod blocking;
mod children;
mod line_echo;
mod program;
mod proxy;
mod smol_main;
mod websocket;
mod worker;

use std::time::Duration;

use testkit::example;

/// Enough for anything that should not have to wait.
const SOON: Duration = Duration::from_secs(10);
