//! A list of signals is not a stream of them.
//~ `[Signal; 1]: futures_core::stream::Stream` is not satisfied
//~ required by a bound in `async_drain::Shutdown::on`

use async_drain::{Drain, Shutdown, signal::Signal};

fn main() {
    let drain = Drain::new();
    let _shutdown = Shutdown::new(&drain).on([Signal::Term]);
}
