//! tide and async-h1 over real sockets and in real processes.

#[path = "../../../tests/server/support/mod.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of async-drain, which use the rest"
)]
mod support;

mod driver;
mod ending;
mod example;
mod idle;
mod in_flight;
mod middleware;
mod newcomers;
mod websocket;
