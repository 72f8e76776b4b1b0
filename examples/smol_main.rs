//! The quickstart for programs whose executor is made by `smol_macros`.
//!
//! `main!` stops its threads as soon as the future returns, and drops the tasks that were detached
//! on them. So the future awaits the shutdown last.
//!
//! Run with: `cargo run --example smol_main`, then `curl localhost:8080` in another terminal, and
//! Ctrl-C while it waits.

use std::{convert::Infallible, env, io, net::TcpListener, sync::Arc, time::Duration};

use async_drain::{Drain, Report, Shutdown, hyper::Server, signal};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::{Async, Timer};
use smol_macros::{Executor, main};

async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Timer::after(Duration::from_secs(1)).await;
    Ok(Response::new("hello\n".into()))
}

main! {
    async fn main(executor: Arc<Executor<'static>>) -> io::Result<Report> {
        let drain = Drain::new();
        let shutdown = Shutdown::new(&drain).on(signal::termination()?);

        let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
        let listener = TcpListener::bind(addr)?;
        println!("listening on {}", listener.local_addr()?);
        let server = Server::new(&drain, move |task| executor.spawn(task).detach())
            .serve(Async::new(listener)?, service_fn(hello));

        Ok(shutdown.run(server).await)
    }
}
