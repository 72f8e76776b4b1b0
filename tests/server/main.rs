//! Adapters over real sockets and real processes.

#[allow(dead_code, reason = "each test uses its part")]
mod support;

mod close;
mod idle;
mod in_flight;
mod peers;
mod signals;
mod websocket;
