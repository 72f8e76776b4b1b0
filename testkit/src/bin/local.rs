//! A server on a bare `LocalExecutor`: one thread, handlers that are not `Send`, and a watchdog in
//! case one of them blocks it.
//!
//! Run with: `cargo run --bin local`; the settings are in `testkit/src/settings.rs`. Then `curl
//! localhost:PORT/block/60000` and Ctrl-C: the process ends within its budget all the same.

use std::{
    cell::Cell,
    error::Error,
    io::{self, Write},
    process,
    process::ExitCode,
    rc::Rc,
};

use async_drain::{
    Drain, Report,
    hyper::{Probes, Server},
};
use async_executor::LocalExecutor;
use futures_lite::future;
use hyper::service::service_fn;
use testkit::{routes::answer::answer, serve, settings::Settings};

fn main() -> ExitCode {
    serve::run(run)
}

fn run() -> Result<Report, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let drain = Drain::tracked();
    let shutdown = serve::shutdown(&settings, &drain)?;

    let executor = Rc::new(LocalExecutor::new());
    let (listener, addr) = serve::listen(&settings)?;
    let count = Rc::new(Cell::new(0_u64));
    let service = service_fn({
        let drain = drain.clone();
        let count = Rc::clone(&count);
        move |request| {
            let drain = drain.clone();
            count.set(count.get() + 1);
            async move { answer(request, &drain).await }
        }
    });
    let server = Server::local(&drain, {
        let executor = Rc::clone(&executor);
        move |task| executor.spawn(task).detach()
    })
    .keep_alive_grace(settings.keep_alive_grace)
    .first_request_grace(settings.first_request_grace)
    .limits(settings.limits)
    .serve(listener, Probes::new(settings.readiness(&drain), service));

    serve::announce(addr);
    let run = shutdown.run_with_watchdog(server, |report| {
        // Unlike `eprintln!`, this does not panic if stderr is closed.
        let _ = writeln!(io::stderr(), "the executor is blocked\n{report}");
        process::exit(1);
    });
    let report = future::block_on(executor.run(run))?;
    let _ = writeln!(io::stderr(), "served {} requests", count.get());
    Ok(report)
}
