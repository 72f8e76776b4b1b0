//! A service of systemd: it takes its listener from a socket unit, says when it is ready, shows in
//! `systemctl status` how its stop is getting on, and has systemd wait for the work in flight.
//!
//! Without systemd: `cargo run --example systemd`, then `curl localhost:8080/slow`, and Ctrl-C.
//! With it: see `docs/guide/systemd.md`; the units are beside this file.
#![cfg_attr(not(target_os = "linux"), allow(unused))]

use std::{convert::Infallible, env, error::Error, net::TcpListener, time::Duration};

#[cfg(target_os = "linux")]
use async_drain::systemd;
use async_drain::{Drain, Report, Shutdown, hyper::Server, net::IntoAccept, signal};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::Timer;

/// The exit status after a stop that abandoned work: the unit takes it for a success.
const ABANDONED: u8 = 75;

#[cfg(target_os = "linux")]
fn main() -> Result<Report, Box<dyn Error>> {
    // Tracked: the status names the request that has been running for longest.
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        // The unit's `TimeoutStopSec=` may be shorter: systemd is asked to wait for this.
        .grace(Duration::from_secs(60))
        .on_progress(Duration::from_secs(1), systemd::notify());

    // From the socket unit; if there is none, from an earlier run of this service; if there was
    // none, a new one, which systemd keeps for the next run.
    let listener = match systemd::listeners()?.tcp()? {
        Some(listener) => listener.into_accept()?,
        None => {
            let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
            systemd::store("http", TcpListener::bind(addr)?)?
        }
    };
    let server = Server::new(&drain, |task| smol::spawn(task).detach());
    let report = smol::block_on(shutdown.run(server.serve(listener, service_fn(answer))));
    Ok(report.exit_status(ABANDONED))
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    if request.uri().path() == "/slow" {
        Timer::after(Duration::from_secs(5)).await;
    }
    Ok(Response::new("hello\n".to_owned()))
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("there is no systemd on this system");
}
