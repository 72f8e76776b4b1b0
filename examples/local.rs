//! A server on a bare `LocalExecutor`: one thread, handlers that are not `Send`, and a watchdog in
//! case one of them blocks that thread.
//!
//! Run with: `cargo run --example local`, then `curl localhost:8080/block`, and Ctrl-C: the process
//! still ends within its budget.

use std::{
    cell::Cell,
    convert::Infallible,
    env,
    error::Error,
    io::{self, Write},
    net::TcpListener,
    process,
    rc::Rc,
    thread,
    time::Duration,
};

use async_drain::{Drain, Report, Shutdown, hyper::Server, signal};
use async_executor::LocalExecutor;
use futures_lite::future;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::Async;

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(3));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let count = Rc::new(Cell::new(0_u64));
    let service = service_fn({
        let count = Rc::clone(&count);
        move |request| {
            let count = Rc::clone(&count);
            async move { Ok::<_, Infallible>(answer(&request, &count)) }
        }
    });
    let executor = Rc::new(LocalExecutor::new());
    let server = Server::local(&drain, {
        let executor = Rc::clone(&executor);
        move |task| executor.spawn(task).detach()
    })
    .serve(Async::new(listener)?, service);

    let run = shutdown.run_with_watchdog(server, |report| {
        // Unlike `eprintln!`, this does not panic if stderr is closed.
        let _ = writeln!(io::stderr(), "the executor is blocked\n{report}");
        process::exit(1);
    });
    let report = future::block_on(executor.run(run))?;
    println!("served {} requests", count.get());
    Ok(report)
}

fn answer(request: &Request<Incoming>, count: &Cell<u64>) -> Response<String> {
    count.set(count.get() + 1);
    if request.uri().path() == "/block" {
        thread::sleep(Duration::from_secs(60));
    }
    Response::new(format!("request {}\n", count.get()))
}
