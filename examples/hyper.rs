//! An HTTP server that serves HTTP/1 and HTTP/2 on one port and stops without losing a request.
//!
//! Run with: `cargo run --example hyper`, then `curl -N localhost:8080/clock`, and Ctrl-C.

use std::{convert::Infallible, env, error::Error, net::TcpListener, time::Duration};

use async_drain::{
    Drain, Report, Shutdown,
    hyper::{Probes, Server},
    signal,
};
use futures_lite::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    service::service_fn,
};
use smol::{Async, Timer};

type Body = BoxBody<Bytes, Infallible>;

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    // Tracked: the report names each request that had to be abandoned.
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        // For a balancer that probes `/readyz` every two seconds, and needs two failures.
        .lame_duck(Duration::from_secs(5))
        .grace(Duration::from_secs(20));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let service = service_fn({
        let drain = drain.clone();
        move |request| {
            let drain = drain.clone();
            async move { Ok::<_, Infallible>(answer(&request, &drain)) }
        }
    });
    // Answers `/readyz` and `/livez`.
    let service = Probes::new(drain.readiness(), service);
    let server = Server::new(&drain, |task| smol::spawn(task).detach())
        .serve(Async::new(listener)?, service);

    Ok(smol::block_on(shutdown.run(server)))
}

fn answer(request: &Request<Incoming>, drain: &Drain) -> Response<Body> {
    let mut response = Response::new(text("hello\n"));
    match request.uri().path() {
        "/" => {}
        "/clock" => {
            let frames = clock(drain).map(|line| Ok(Frame::data(line.into())));
            *response.body_mut() = BodyExt::boxed(StreamBody::new(frames));
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}

/// Ticks until draining begins: an endless stream has to end by itself.
fn clock(drain: &Drain) -> impl Stream<Item = &'static str> + Send + Sync + use<> {
    let ticks = stream::repeat("tick\n").then(|tick| async move {
        Timer::after(Duration::from_secs(1)).await;
        tick
    });
    drain
        .run_until_draining(ticks)
        .chain(stream::once("the server is leaving\n"))
}

fn text(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).boxed()
}
