//! hyper on compio, whose driver accepts ahead of the program: by `io_uring`, or by polling where
//! that is refused.
//!
//! compio's tasks, sockets and timers belong to one thread, and this program has one.
//!
//! Run with: `cargo run --bin on-compio`; `testkit/src/settings.rs` lists the settings.

use std::{error::Error, io, pin::pin, process::ExitCode, time::Duration};

use async_drain::{Drain, Report, Shutdown, hyper::Activity, net::retire, signal};
use compio::{
    io::compat::AsyncStream,
    net::{TcpListener, TcpStream},
    runtime::{CancelToken, FutureExt, Runtime, spawn},
    time::sleep,
};
use hyper::{server::conn::http1, service::service_fn};
use testkit::{routes::answer::answer, serve, settings::Settings};

fn main() -> ExitCode {
    serve::run(|| Runtime::new()?.block_on(run()))
}

async fn run() -> Result<Report, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
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
    // A token keeps what it was given until it is dropped, so each accept has one of its own.
    let mut token = CancelToken::new();
    let mut accepting = pin!(listener.accept().with_cancel(token.clone()));
    while let Some(accepted) = drain.run_until_draining(accepting.as_mut()).await {
        match accepted {
            Ok((stream, _)) => serve(drain, stream),
            // That of one connection, or no descriptor is free: others may be accepted later.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
        token = CancelToken::new();
        accepting.set(listener.accept().with_cancel(token.clone()));
    }
    // The last accept may already have a connection, which dropping the accept would close. An
    // accept that is cancelled returns its connection, or an error if it has none.
    token.cancel();
    if let Ok((stream, _)) = accepting.await {
        serve(drain, stream);
    }
    let mut retired = retire(&listener);
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
    let stream = Box::pin(AsyncStream::new(stream));
    let connection =
        http1::Builder::new().serve_connection(activity.io(stream), activity.service(service));
    spawn(drain.watch(connection).activity(activity)).detach();
}
