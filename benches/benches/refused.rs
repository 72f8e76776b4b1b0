//! From SIGTERM to the first connect that is refused, as a distribution.
//!
//! Beside Go's `Shutdown`, and a server that the signal kills at once, which is the floor.
//! `REFUSED_ROUNDS` sets how many rounds (100).

use std::{
    env,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use async_drain_bench::{
    distributions::distributions,
    figures::Figures,
    race::order,
    server::{Server, built, built_go},
};

const KILLED: &str = "killed at once";
const OURS: &str = "async-drain";
const GO: &str = "Go's Shutdown";

fn main() {
    let rounds = env::var("REFUSED_ROUNDS").map_or(100, |n| n.parse().expect("REFUSED_ROUNDS"));
    let mut programs = vec![
        (KILLED, built("benches/http", ["--bin", "bare"])),
        (OURS, built("benches/http", ["--bin", "drained"])),
    ];
    programs.extend(built_go("peers/main.go").map(|go| (GO, go)));
    let mut table: Vec<_> = programs.iter().map(|(who, _)| (*who, Vec::new())).collect();
    for round in 0..rounds {
        for i in order(round, programs.len()) {
            table[i].1.push(refused(&programs[i].1));
        }
    }

    let mut figures = Figures::new(
        "refused",
        "time from SIGTERM to the first refused connect, 1 = half of those killed at once",
    );
    let _ = distributions(&mut figures, &mut table);
    figures.publish();
}

/// Returns the nanoseconds from the signal to the first connect that is refused.
fn refused(program: &Path) -> f64 {
    let server = Server::start(Command::new(program));
    // It serves: its accept loop and its signal handler are there.
    assert!(!is_refused(server.addr()), "it listens");
    let told = Instant::now();
    server.terminate();
    while !is_refused(server.addr()) {
        assert!(
            told.elapsed() < Duration::from_secs(20),
            "{} stays",
            program.display()
        );
    }
    told.elapsed().as_nanos() as f64
}

/// Neither accepted nor left without an answer, as by a listener whose queue is being emptied.
fn is_refused(addr: SocketAddr) -> bool {
    const AT_ONCE: Duration = Duration::from_micros(200);
    let connected = TcpStream::connect_timeout(&addr, AT_ONCE);
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
