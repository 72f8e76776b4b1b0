//! tide and async-h1 over real sockets and in real processes.

mod driver;
mod ending;
mod example;
mod idle;
mod in_flight;
mod middleware;
mod newcomers;
mod websocket;

use testkit as support;
