//! tide on async-std, with a `DrainListener`.
//!
//! Run `cargo run --example tide`, then e.g. `curl -N localhost:PORT/stream/100/100`, and press
//! Ctrl-C. `../../testkit/src/settings.rs` lists the settings.

mod common;

use std::{error::Error, net::TcpListener, process::ExitCode};

use async_drain::{Drain, Readiness, Report, Shutdown, signal};
use async_drain_tide::DrainListener;
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

    let readiness = settings.readiness(&drain);
    let mut app = tide::with_state((drain.clone(), readiness));
    for path in ["/", "/*"] {
        app.at(path)
            .all(|request: tide::Request<(Drain, Readiness)>| async {
                let (drain, readiness) = request.state().clone();
                let response = common::answer::answer(request.into(), &drain, &readiness).await?;
                Ok(tide::Response::from(response))
            });
    }

    let listener = Async::<TcpListener>::bind(settings.addr)?;
    serve::announce(listener.get_ref().local_addr()?);
    let listener = DrainListener::new(&drain, listener)
        .keep_alive_grace(settings.keep_alive_grace)
        .first_request_grace(settings.first_request_grace);
    Ok(async_std::task::block_on(
        shutdown.run(app.listen(listener)),
    ))
}
