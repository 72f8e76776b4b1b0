//! What all server examples share: their settings, their routes, and how they end.
// Not every example uses all of it, and none is a library.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod answer;
pub mod events;
pub mod process;
pub mod route;
pub mod settings;
pub mod tls;
pub mod tunnel;
pub mod websocket;

pub use process::{announce, cannot_listen, run};
