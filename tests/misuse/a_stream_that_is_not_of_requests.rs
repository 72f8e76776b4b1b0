//! The items of a channel are not requests to stop.
//~ `String` is not a request to stop
//~ map the items of the stream to `()`

use async_drain::{Drain, Shutdown};

fn main() {
    let drain = Drain::new();
    let (_sender, receiver) = smol::channel::unbounded::<String>();
    let _shutdown = Shutdown::new(&drain).on(receiver);
}
