//! HTTP/3 on smol: quinn's endpoint, h3's connections, and GOAWAY in two steps.
//!
//! Each connection holds a guard, and so does the endpoint, which still has closes to send when
//! they are gone. h3 0.0.8 does not say when a peer has acknowledged the end of an answer. So after
//! the last one the connection is left open for the peer to close, for the keep-alive grace;
//! request bodies are not read, and `/echo` is empty.
//!
//! Run with: `cargo run`; `testkit/src/settings.rs` lists the settings.

mod connection;

use std::{error::Error, net::UdpSocket, process::ExitCode, sync::Arc, time::Duration};

use async_drain::{Drain, Report, Shutdown, signal};
use futures_lite::future::{or, poll_once};
use quinn::{Endpoint, SmolRuntime, crypto::rustls::QuicServerConfig};
use testkit::{certificate, serve, settings::Settings};

type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    serve::run(run)
}

fn run() -> Result<Report, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .lame_duck(settings.lame_duck)
        .grace(settings.grace)
        .abort_grace(settings.abort_grace);

    let crypto = QuicServerConfig::try_from(certificate::config(&["h3"])?)?;
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let socket = UdpSocket::bind(settings.addr)?;
    serve::announce(socket.local_addr()?);
    let endpoint = Endpoint::new(
        quinn::EndpointConfig::default(),
        Some(config),
        socket,
        Arc::new(SmolRuntime),
    )?;
    let server = accept(endpoint, drain.clone(), settings.keep_alive_grace);
    Ok(smol::block_on(shutdown.run(server)))
}

async fn accept(endpoint: Endpoint, drain: Drain, grace: Duration) -> Result<(), AnyError> {
    let guard = drain.guard()?.labeled("endpoint");
    let start = |incoming| -> Result<(), AnyError> {
        let guard = drain.guard()?.labeled("connection");
        let served = connection::serve(incoming, drain.clone(), grace);
        let served = guard.run_until_aborting(served);
        smol::spawn(guard.wrap(served)).detach();
        Ok(())
    };
    while let Some(Some(incoming)) = drain.run_until_draining(endpoint.accept()).await {
        start(incoming)?;
    }
    // Peers that came before are served, and from here on new peers are refused.
    while let Some(Some(incoming)) = poll_once(endpoint.accept()).await {
        start(incoming)?;
    }
    let refuse = async {
        while let Some(incoming) = endpoint.accept().await {
            incoming.refuse();
        }
    };
    or(endpoint.wait_idle(), refuse).await;
    drop(guard);
    Ok(())
}
