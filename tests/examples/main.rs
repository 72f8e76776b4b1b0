//! The examples, each run as the process that an operator sees.

mod admin;
mod axum;
mod blocking;
mod children;
mod executors;
mod kubernetes;
mod layer;
mod line_echo;
mod program;
mod progress;
mod proxy;
#[cfg(unix)]
mod reload;
mod sessions;
mod smol_main;
mod sqlite;
#[cfg(unix)]
mod supervisor;
#[cfg(target_os = "linux")]
mod systemd;
mod testing;
mod threads;
mod watch;
mod websocket;
mod worker;

use std::time::Duration;

use testkit::example;

/// How long anything may take that should not have to wait.
const TIMEOUT: Duration = Duration::from_secs(10);
