//! The smallest server that stops well: it finishes the requests that have begun, and reports it.
//!
//! Run with: `cargo run --example quickstart`, then `curl localhost:8080` in another terminal, and
//! Ctrl-C while it waits.

use std::{convert::Infallible, io, net::TcpListener, time::Duration};

use async_drain::{Drain, Report, Shutdown, hyper::Server, signal};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::{Async, Timer};

async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Timer::after(Duration::from_secs(3)).await;
    Ok(Response::new("hello\n".into()))
}

fn main() -> io::Result<Report> {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(10));

    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 8080))?;
    println!("listening on {}", listener.get_ref().local_addr()?);
    let server =
        Server::new(&drain, |task| smol::spawn(task).detach()).serve(listener, service_fn(hello));

    Ok(smol::block_on(shutdown.run(server)))
}
