//! `DrainLayer` on a part of a router of axum: exports are counted apart from all other requests,
//! and the report names those that had to be abandoned.
//!
//! Run with: `cargo run --example layer`, then `curl localhost:8080/export`, and Ctrl-C.

use std::{env, error::Error, net::TcpListener, time::Duration};

use async_drain::{Drain, Report, Shutdown, hyper::Server, signal, tower::DrainLayer};
use axum::{Router, extract::State, routing::get};
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
    // A child: it drains with the server, which waits for it.
    let exports = drain.child();
    let app = Router::new()
        .route("/export", get(export))
        .layer(DrainLayer::new(&exports))
        .route("/exports", get(count))
        .with_state(exports);
    let server = Server::new(&drain, |task| smol::spawn(task).detach())
        .serve(Async::new(listener)?, TowerToHyperService::new(app));

    Ok(smol::block_on(shutdown.run(server)))
}

async fn export() -> &'static str {
    Timer::after(Duration::from_secs(1)).await;
    "exported\n"
}

async fn count(State(exports): State<Drain>) -> String {
    format!("exports in flight: {}\n", exports.in_flight())
}
