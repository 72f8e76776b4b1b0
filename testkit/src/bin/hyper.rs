//! All of what `hyper::Server` offers, on smol's global executor: HTTP/1 and HTTP/2 on one port,
//! with or without TLS.
//!
//! Run with: `cargo run --bin hyper`; the settings are in `testkit/src/settings.rs`. For example,
//! `curl -N localhost:PORT/stream/100/100`, and Ctrl-C.

use std::{error::Error, process::ExitCode};

use async_drain::{
    Drain, Report,
    hyper::{Probes, Server},
};
use hyper::service::service_fn;
use testkit::{
    certificate,
    routes::{Route, answer::answer, websocket},
    serve,
    settings::Settings,
};

fn main() -> ExitCode {
    serve::run(run)
}

fn run() -> Result<Report, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let drain = Drain::tracked();
    let shutdown = serve::shutdown(&settings, &drain)?;
    let (listener, addr) = serve::listen(&settings)?;
    serve::announce(addr);
    let server = Server::new(&drain, |task| smol::spawn(task).detach())
        .keep_alive_grace(settings.keep_alive_grace)
        .first_request_grace(settings.first_request_grace)
        .limits(settings.limits);
    let close_code = settings.ws_close_code;
    let service = service_fn({
        let drain = drain.clone();
        move |request| {
            let drain = drain.clone();
            async move {
                match Route::of(request.uri().path()) {
                    Route::WebSocket => Ok(websocket::upgrade(request, &drain, close_code)),
                    _ => answer(request, &drain).await,
                }
            }
        }
    });
    let service = Probes::new(settings.readiness(&drain), service);
    let report = if settings.tls {
        let acceptor = certificate::acceptor()?;
        let server = server.handshake(move |connection| acceptor.accept(connection));
        smol::block_on(shutdown.run(server.serve(listener, service)))
    } else {
        smol::block_on(shutdown.run(server.serve(listener, service)))
    };
    Ok(report.exit_status(settings.abandoned_status))
}
