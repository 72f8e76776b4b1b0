//! A timer is a function, not a future.
//~ `Timer` is not a timer
//~ a timer returns a future for a deadline

use async_drain::{Drain, Shutdown};

fn main() {
    let drain = Drain::new();
    let _shutdown = Shutdown::with_timer(&drain, smol::Timer::never());
}
