//! An accept loop and HTTP settings of one's own: `Drain::accept` retires the listener,
//! `Drain::watch` ends each connection of hyper, and what lies between them is the program's.
//!
//! Run with: `cargo run --example watch`, then `curl localhost:8080`, and Ctrl-C.

use std::{
    convert::Infallible,
    env,
    error::Error,
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use async_drain::{Drain, Report, Shutdown, hyper::Activity, net::Connection, signal};
use futures_lite::StreamExt;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use smol::{Async, Timer};

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(10));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let server = serve(&drain, Async::new(listener)?);
    Ok(smol::block_on(shutdown.run(server)))
}

async fn serve(drain: &Drain, listener: Async<TcpListener>) -> io::Result<()> {
    let mut incoming = drain.accept(listener);
    while let Some(connection) = incoming.next().await {
        let Connection {
            io, guard, peer, ..
        } = connection?;
        let activity = Activity::new(drain);
        let service = service_fn(move |request| answer(request, peer));
        let conn = http1::Builder::new()
            .max_headers(32)
            .serve_connection(activity.io(io), activity.service(service));
        let watch = drain.watch(conn).activity(activity);
        // The watch has taken a guard of its own.
        drop(guard);
        smol::spawn(watch).detach();
    }
    Ok(())
}

async fn answer(
    _: Request<Incoming>,
    peer: Option<SocketAddr>,
) -> Result<Response<String>, Infallible> {
    Timer::after(Duration::from_secs(1)).await;
    let peer = peer.map_or("somewhere".to_owned(), |peer| peer.to_string());
    Ok(Response::new(format!("hello, {peer}\n")))
}
