//! Adapters over real sockets and real processes.

mod accept;
mod age;
mod bad_input;
mod bad_luck;
mod builder;
mod by_hand;
mod clock;
mod close;
mod dropped;
mod farewell;
#[cfg(target_os = "linux")]
mod generations;
#[cfg(target_os = "linux")]
mod group;
mod http2;
mod idle;
mod in_flight;
mod in_process;
mod limits;
mod linger;
mod listener;
mod peers;
mod pipelined;
mod probes;
mod retire;
mod routes;
mod server;
mod signals;
mod stalled;
mod streams;
#[cfg(target_os = "linux")]
mod systemd;
mod watchdog;
mod websocket;

use testkit as support;
