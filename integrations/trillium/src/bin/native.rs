//! The same routes on trillium, which here handles SIGTERM by itself and knows of no drain: a peer
//! of ci/scoreboard.sh.

#[path = "../answer.rs"]
mod answer;

use std::error::Error;

use async_drain::Drain;
use testkit::serve;
use trillium::Conn;

fn main() -> Result<(), Box<dyn Error>> {
    // Never begins.
    let drain = Drain::new();
    let readiness = drain.readiness();
    let server = trillium_smol::config()
        .with_host("127.0.0.1")
        .with_port(0)
        .spawn(move |conn: Conn| answer::answer(conn, drain.clone(), readiness.clone()));
    let info = smol::block_on(server.info());
    serve::announce(*info.tcp_socket_addr().ok_or("no TCP listener")?);
    server.block();
    Ok(())
}
