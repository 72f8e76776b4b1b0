//! axum without tokio: a router of axum 0.8 under `hyper::Server`, on smol.
//!
//! axum's feature `tokio` is off, and with it `axum::serve` and `ConnectInfo`: the server is
//! async-drain's, and the peer's address comes as an extension. `DrainLayer` is not needed, since
//! the server counts and names the requests itself.
//!
//! Run with: `cargo run --example axum`, then `curl localhost:8080/slow`, and Ctrl-C.

use std::{
    env,
    error::Error,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use async_drain::{
    Drain, Report, Shutdown,
    hyper::{Probes, Server},
    signal,
};
use axum::{Extension, Router, routing::get};
use hyper_util::service::TowerToHyperService;
use smol::{Async, Timer};

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(20));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let app = TowerToHyperService::new(app());
    let server = Server::new(&drain, |task| smol::spawn(task).detach())
        // For the handler of `/peer`.
        .peer_addresses(true)
        // Answers `/readyz` and `/livez`.
        .serve(Async::new(listener)?, Probes::new(drain.readiness(), app));

    Ok(smol::block_on(shutdown.run(server)))
}

fn app() -> Router {
    Router::new()
        .route("/", get("hello\n"))
        .route("/slow", get(slow))
        .route("/peer", get(peer))
}

async fn slow() -> &'static str {
    Timer::after(Duration::from_secs(1)).await;
    "slept\n"
}

async fn peer(Extension(peer): Extension<SocketAddr>) -> String {
    format!("{peer}\n")
}
