//! An HTTP server in a container: probes, a lame duck in place of a preStop hook that sleeps, a log
//! of how the shutdown is getting on, and a budget that is checked at start against the time that
//! the kubelet gives.
//!
//! Run with: `cargo run --example kubernetes`, then `curl localhost:8080/wait/3`, and Ctrl-C.
//! `deployment.yaml` beside it sets the environment, and `Containerfile` makes the image.

use std::{
    convert::Infallible, env, error::Error, io::Write, net::TcpListener, process::ExitCode,
    process::Termination, time::Duration,
};

use async_drain::{
    Drain, Report, Shutdown,
    hyper::{Probes, Server},
    signal,
};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::{Async, Timer};

fn main() -> ExitCode {
    match run() {
        Ok(report) => report.report(),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    // Tracked: the report names each request that had to be abandoned.
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .lame_duck(seconds("LAME_DUCK_SECONDS", 5)?)
        .grace(seconds("GRACE_SECONDS", 20)?)
        .on_progress(Duration::from_secs(5), |progress| {
            let _ = writeln!(std::io::stderr(), "{progress}");
        })
        .within(seconds("TERMINATION_GRACE_PERIOD_SECONDS", 30)?)?;

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    // Ready in lame duck too: Kubernetes knows by itself that the Pod is going.
    let readiness = drain.readiness().kubernetes();
    let server = Server::new(&drain, |task| smol::spawn(task).detach()).serve(
        Async::new(listener)?,
        Probes::new(readiness, service_fn(answer)),
    );

    Ok(smol::block_on(shutdown.run(server)))
}

/// Answers `/wait/N` after so many seconds, and everything else at once.
async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let path = request.uri().path();
    if let Some(wait) = path.strip_prefix("/wait/").and_then(|n| n.parse().ok()) {
        Timer::after(Duration::from_secs(wait)).await;
    }
    Ok(Response::new("hello\n".to_owned()))
}

/// Reads a number of seconds from the environment.
fn seconds(name: &str, default: u64) -> Result<Duration, String> {
    match env::var(name) {
        Ok(value) => value
            .parse()
            .map(Duration::from_secs)
            .map_err(|_| format!("{name} is '{value}', and not a number of seconds")),
        Err(_) => Ok(Duration::from_secs(default)),
    }
}
