//! All of what `hyper::Server` offers, on smol's global executor: HTTP/1 and HTTP/2 on one port, with or without TLS.
//!
//! Run with: `cargo run --bin hyper`; the settings are in `testkit/src/settings.rs`. Then, say,
//! `curl -N localhost:PORT/stream/100/100`, and Ctrl-C.

use std::{error::Error, net::TcpListener, process::ExitCode};

use async_drain::{Drain, Report, Shutdown, hyper::Server, signal};
use hyper::service::service_fn;
use smol::Async;
use testkit::{
    certificate, routes::Route, routes::answer::answer, routes::websocket, serve,
    settings::Settings,
};

fn main() -> ExitCode {
    serve::run(run)
}

fn run() -> Result<Report, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let drain = Drain::builder().track(true).build();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .lame_duck(settings.lame_duck)
        .grace(settings.grace)
        .abort_grace(settings.abort_grace);

    let listener =
        Async::<TcpListener>::bind(settings.addr).map_err(serve::cannot_listen(settings.addr))?;
    let server = Server::new(&drain)
        .spawn(|task| smol::spawn(task).detach())
        .keep_alive_grace(settings.keep_alive_grace)
        .first_request_grace(settings.first_request_grace);
    let service = service_fn({
        let drain = drain.clone();
        move |request| {
            let drain = drain.clone();
            async move {
                match Route::of(request.uri().path()) {
                    Route::WebSocket => {
                        Ok(websocket::upgrade(request, &drain, settings.ws_close_code))
                    }
                    _ => answer(request, &drain).await,
                }
            }
        }
    });

    serve::announce(listener.get_ref().local_addr()?);
    Ok(if settings.tls {
        let acceptor = certificate::acceptor()?;
        let server = server.handshake(move |connection| acceptor.accept(connection));
        smol::block_on(shutdown.run(server.serve(listener, service)))
    } else {
        smol::block_on(shutdown.run(server.serve(listener, service)))
    })
}
