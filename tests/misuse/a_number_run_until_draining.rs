//! Only futures and streams run until draining begins.
//~ `{integer}` is not a future

use async_drain::Drain;

fn main() {
    let drain = Drain::new();
    let _: Option<()> = smol::block_on(drain.run_until_draining(5));
}
