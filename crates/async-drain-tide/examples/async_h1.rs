//! async-h1 without tide, on smol's global executor, with a `Driver`.
//!
//! Run `cargo run --example async_h1`, then e.g. `curl -N localhost:PORT/stream/100/100`, and press
//! Ctrl-C. `../../testkit/src/settings.rs` lists the settings.

mod common;

use std::{error::Error, io, net::TcpListener, process::ExitCode};

use async_drain::{Drain, Report, Shutdown, signal};
use async_drain_tide::Driver;
use futures_lite::StreamExt;
use smol::Async;
use testkit::serve;

fn main() -> ExitCode {
    serve::run(run)
}

fn run() -> Result<Report, Box<dyn Error>> {
    let settings = common::settings()?;
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .lame_duck(settings.lame_duck)
        .grace(settings.grace)
        .abort_grace(settings.abort_grace);

    // smol's executor opens descriptors when it first runs, and panics if there are none left.
    smol::block_on(smol::spawn(async {}));
    let listener = Async::<TcpListener>::bind(settings.addr)?;
    serve::announce(listener.get_ref().local_addr()?);
    let driver = Driver::new(&drain)
        .keep_alive_grace(settings.keep_alive_grace)
        .first_request_grace(settings.first_request_grace);
    let readiness = settings.readiness(&drain);
    let mut incoming = drain.accept(listener);
    let server = async {
        while let Some(connection) = incoming.next().await {
            let (drain, readiness) = (drain.clone(), readiness.clone());
            let serving = driver.drive(connection?, move |request| {
                let (drain, readiness) = (drain.clone(), readiness.clone());
                async move { common::answer::answer(request, &drain, &readiness).await }
            });
            // A connection that fails affects no other, and its peer knows.
            smol::spawn(async { drop(serving.await) }).detach();
        }
        io::Result::Ok(())
    };
    Ok(smol::block_on(shutdown.run(server)))
}
