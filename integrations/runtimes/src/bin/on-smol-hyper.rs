//! A program of smol and smol-hyper that keeps its own accept loop and its own service, and drains.
//!
//! What it had before is `FuturesIo::new(stream)` in place of `activity.io(stream)`, no `watch`,
//! and an accept loop without end.
//!
//! Run with: `cargo run --bin on-smol-hyper`; `testkit/src/settings.rs` lists the settings.

use std::{
    error::Error,
    io,
    net::{TcpListener, TcpStream},
    process::ExitCode,
    time::Duration,
};

use async_drain::{Drain, Report, Shutdown, hyper::Activity, net::retire, signal};
use hyper::{server::conn::http1, service::service_fn};
use smol::{Async, Timer};
use smol_hyper::rt::SmolTimer;
use testkit::{routes::answer::answer, serve, settings::Settings};

fn main() -> ExitCode {
    serve::run(|| smol::block_on(run()))
}

async fn run() -> Result<Report, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .lame_duck(settings.lame_duck)
        .grace(settings.grace)
        .abort_grace(settings.abort_grace);
    let listener = Async::<TcpListener>::bind(settings.addr)?;
    serve::announce(listener.get_ref().local_addr()?);
    Ok(shutdown.run(accept(&drain, listener)).await)
}

/// Accepts connections until draining begins, and then those that are queued.
async fn accept(drain: &Drain, listener: Async<TcpListener>) -> io::Result<()> {
    // The loop is work too: the drain must not end while a connection is queued.
    let _loop = drain
        .guard()
        .map_err(io::Error::other)?
        .labeled("accept loop");
    // Dropping smol's accept loses no connection.
    while let Some(accepted) = drain.run_until_draining(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => serve(drain, stream),
            // That of one connection, or no descriptor is free: others may be accepted later.
            Err(_) => {
                Timer::after(Duration::from_millis(10)).await;
            }
        }
    }
    let mut retired = retire(listener);
    while !retired.is_empty() {
        if !retired.has_queued() {
            Timer::after(Duration::from_millis(1)).await; // one may be on its way
            continue;
        }
        match retired.get_ref().accept().await {
            Ok((stream, _)) => serve(drain, stream),
            Err(_) => {
                Timer::after(Duration::from_millis(10)).await;
            }
        }
    }
    Ok(())
}

fn serve(drain: &Drain, stream: Async<TcpStream>) {
    let activity = Activity::new(drain); // tells idle connections from busy ones
    let service = service_fn({
        let drain = drain.clone();
        move |request| {
            let drain = drain.clone();
            async move { answer(request, &drain).await }
        }
    });
    let connection = http1::Builder::new()
        .timer(SmolTimer::new())
        .serve_connection(activity.io(stream), activity.service(service));
    smol::spawn(drain.watch(connection).activity(activity)).detach();
}
