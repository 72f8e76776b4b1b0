//! Asynchronous clients that ask over and over, and count what becomes of each request.

pub mod gate;
pub mod http1;
pub mod http10;
pub mod http2;
pub mod peer;
pub mod slow2;
pub mod stray;
pub mod tally;
pub mod tls;
pub mod transport;
pub mod tunnel;
