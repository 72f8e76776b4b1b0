//! axum without tokio: a router of axum 0.8 under `hyper::Server`, on smol.
//!
//! axum's `tokio` feature is off, and with it `axum::serve` and `ConnectInfo`: the server is ours,
//! and the peer's address comes as an extension. `DrainLayer` would be too much here, since the
//! server counts and names the requests itself.
//!
//! Run with: `cargo run --bin axum`; the settings are in `testkit/src/settings.rs`. Then `curl
//! localhost:PORT/peer`, and Ctrl-C.

use std::{error::Error, net::SocketAddr, process::ExitCode};

use async_drain::{
    Drain, Report,
    hyper::{Probes, Server},
};
use axum::{
    Extension, Router,
    extract::{Request, State},
    response::IntoResponse,
    routing::get,
};
use hyper_util::service::TowerToHyperService;
use testkit::{routes::answer::answer, serve, settings::Settings};

fn main() -> ExitCode {
    serve::run(run)
}

fn run() -> Result<Report, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let drain = Drain::tracked();
    let shutdown = serve::shutdown(&settings, &drain)?;

    let (listener, addr) = serve::listen(&settings)?;
    serve::announce(addr);
    let app = TowerToHyperService::new(app(&drain));
    let server = Server::new(&drain, |task| smol::spawn(task).detach())
        .keep_alive_grace(settings.keep_alive_grace)
        .first_request_grace(settings.first_request_grace)
        .limits(settings.limits)
        // For the handler of `/peer`.
        .peer_addresses(true)
        .serve(listener, Probes::new(settings.readiness(&drain), app));
    Ok(smol::block_on(shutdown.run(server)))
}

fn app(drain: &Drain) -> Router {
    Router::new()
        .route("/", get("hello\n"))
        .route("/peer", get(peer))
        // The routes that all examples share.
        .fallback(shared)
        .with_state(drain.clone())
}

async fn peer(Extension(peer): Extension<SocketAddr>) -> String {
    format!("{peer}\n")
}

async fn shared(State(drain): State<Drain>, request: Request) -> impl IntoResponse {
    answer(request, &drain).await
}
