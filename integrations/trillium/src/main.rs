//! A trillium server that drains: its accept loop and connections are trillium's own, the rest is
//! the drain's.
//!
//! Its accept loop would have to know of the graces of idle connections and of the queue, so these
//! promises are not kept. Run with: `cargo run`; `testkit/src/settings.rs` lists the
//! settings.

mod answer;

use std::{error::Error, process::ExitCode};

use async_drain::{Drain, Report, Shutdown, signal};
use swansong::Swansong;
use testkit::{serve, settings::Settings};
use trillium::Conn;

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

    let swansong = Swansong::new();
    let drive = drain.drive(swansong.clone());
    smol::spawn(drain.run_until_aborting(drive)).detach();
    let handler_drain = drain.clone();
    let readiness = settings.readiness(&drain);
    let server = trillium_smol::config()
        .with_host(&settings.addr.ip().to_string())
        .with_port(settings.addr.port())
        .without_signals()
        .with_swansong(swansong)
        .spawn(move |conn: Conn| answer::answer(conn, handler_drain.clone(), readiness.clone()));
    let info = smol::block_on(server.info());
    let addr = info.tcp_socket_addr().ok_or("no TCP listener")?;
    serve::announce(*addr);
    Ok(smol::block_on(shutdown.run(drain.until_draining())))
}
