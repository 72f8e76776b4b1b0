//! The output of a server is `()`, a `Result`, or a type without values.
//~ a server or step can't end with `{integer}`
//~ end it with `Ok::<(), std::io::Error>(())` or with `;`

use async_drain::{Drain, Shutdown};

fn main() {
    let drain = Drain::new();
    smol::block_on(Shutdown::new(&drain).run(async { 5 }));
}
