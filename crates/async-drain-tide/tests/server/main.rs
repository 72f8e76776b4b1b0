//! tide and async-h1 with real sockets, in real processes.

#[cfg(feature = "tide")]
mod async_std;
mod driver;
mod ending;
mod example;
mod heads;
mod idle;
mod in_flight;
mod middleware;
mod newcomers;
mod scene;
mod uploads;
mod websocket;

use testkit as support;
