//! One executor per thread: connections are dealt out in turn, and each thread runs its executor
//! until the drain is drained, since a connection lives on after the server has stopped accepting.
//!
//! Run with: `cargo run --example executors`, then `curl localhost:8080`, and Ctrl-C.

use std::{
    convert::Infallible,
    env,
    error::Error,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use async_drain::{Drain, Report, Shutdown, hyper::Server, signal};
use async_executor::Executor;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::{Async, Timer};

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(10));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let mut executors = Vec::new();
    for number in 0..thread::available_parallelism()?.get() {
        let executor = Arc::new(Executor::new());
        executors.push(Arc::clone(&executor));
        let drained = drain.until_drained();
        thread::Builder::new()
            .name(format!("executor {number}"))
            .spawn(move || smol::block_on(executor.run(drained)))?;
    }
    let next = AtomicUsize::new(0);
    let spawn = move |task| {
        let turn = next.fetch_add(1, Ordering::Relaxed) % executors.len();
        executors[turn].spawn(task).detach();
    };
    let server = Server::new(&drain, spawn).serve(Async::new(listener)?, service_fn(hello));

    Ok(smol::block_on(shutdown.run(server)))
}

async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Timer::after(Duration::from_secs(1)).await;
    let thread = thread::current();
    let name = thread.name().unwrap_or("an executor without a name");
    Ok(Response::new(format!("hello from {name}\n")))
}
