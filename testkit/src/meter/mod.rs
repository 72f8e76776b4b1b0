//! Asynchronous clients that send requests again and again, and count their results.

pub mod gate;
pub mod http1;
pub mod http10;
pub mod http2;
pub mod offer;
pub mod peer;
pub mod slow2;
pub mod stray;
pub mod tally;
pub mod tls;
pub mod transport;
pub mod tunnel;
