//! A timer is a function of an `Instant`, not of a `Duration`.
//~ expected closure signature `fn(Instant) -> _`

use async_drain::{Drain, Shutdown};
use std::{future::ready, time::Duration};

fn main() {
    let drain = Drain::new();
    let _shutdown = Shutdown::with_timer(&drain, |_: Duration| ready(()));
}
