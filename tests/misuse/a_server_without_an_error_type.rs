//! An `async` block that ends with `Ok(())` doesn't say what its error is.
//~ type annotations needed
//~ Ok::<(), E>(())

use async_drain::{Drain, Shutdown};

fn main() {
    let drain = Drain::new();
    smol::block_on(Shutdown::new(&drain).run(async { Ok(()) }));
}
