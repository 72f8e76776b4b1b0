//! hyper on tokio, with an accept loop of its own: the core, `Drain::watch` and `net::retire`.
//!
//! Run with: `cargo run --bin on-tokio`; `testkit/src/settings.rs` lists the settings.

use std::{error::Error, io, process::ExitCode, time::Duration};

use async_drain::{Drain, Report, Shutdown, hyper::Activity, net::retire, signal};
use hyper::{server::conn::http1, service::service_fn};
use testkit::{routes::answer::answer, serve, settings::Settings};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::{sleep, sleep_until},
};
use tokio_util::compat::TokioAsyncReadCompatExt;

fn main() -> ExitCode {
    serve::run(|| Runtime::new()?.block_on(run()))
}

async fn run() -> Result<Report, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let drain = Drain::tracked();
    let shutdown = Shutdown::with_timer(&drain, |at| sleep_until(at.into()))
        .on(signal::termination()?)
        .lame_duck(settings.lame_duck)
        .grace(settings.grace)
        .abort_grace(settings.abort_grace);
    let listener = TcpListener::bind(settings.addr).await?;
    serve::announce(listener.local_addr()?);
    Ok(shutdown.run(accept(&drain, listener)).await)
}

/// Accepts connections until draining begins, and then those that are queued.
async fn accept(drain: &Drain, listener: TcpListener) -> io::Result<()> {
    // The loop is work too: the drain must not end while a connection is queued.
    let _loop = drain
        .guard()
        .map_err(io::Error::other)?
        .labeled("accept loop");
    // Dropping tokio's accept loses no connection.
    while let Some(accepted) = drain.run_until_draining(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => serve(drain, stream),
            // That of one connection, or no descriptor is free: others may be accepted later.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
    let mut retired = retire(listener);
    while !retired.is_empty() {
        if !retired.has_queued() {
            sleep(Duration::from_millis(1)).await; // one may be on its way
            continue;
        }
        match retired.get_ref().accept().await {
            Ok((stream, _)) => serve(drain, stream),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
    Ok(())
}

fn serve(drain: &Drain, stream: TcpStream) {
    let activity = Activity::new(drain); // tells idle connections from busy ones
    let service = service_fn({
        let drain = drain.clone();
        move |request| {
            let drain = drain.clone();
            async move { answer(request, &drain).await }
        }
    });
    let connection = http1::Builder::new()
        .serve_connection(activity.io(stream.compat()), activity.service(service));
    tokio::spawn(drain.watch(connection).activity(activity));
}
