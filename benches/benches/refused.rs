//! From SIGTERM to the first connect that is refused, as a distribution: nobody new is lured onto a server that leaves.
//!
//! Beside Go's `Shutdown`, the recipe that looks once a second, and a server that the signal kills at once, which is the
//! floor. `REFUSED_ROUNDS` sets how many rounds (100).

use std::{
    env,
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use async_drain_bench::{
    distributions::distributions,
    figures::{Bound, Figures},
    race::order,
    server::{Server, built, built_go},
};

const KILLED: &str = "killed at once";
const OURS: &str = "async-drain";
const GO: &str = "Go's Shutdown";
const RECIPE: &str = "look once a second";

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
            table[i].1.push(refused(&programs[i].1, Duration::ZERO));
        }
    }
    let recipe = built("benches/http", ["--bin", "recipe"]);
    // At any time of the second; many at once, since each does nothing for most of it.
    let steps = u32::try_from(rounds.clamp(8, 40)).unwrap_or(8);
    let late: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..steps)
            .map(|i| {
                let recipe = &recipe;
                scope.spawn(move || refused(recipe, Duration::from_secs(1) * i / steps))
            })
            .collect();
        running
            .into_iter()
            .map(|r| r.join().expect("a refusal"))
            .collect()
    });
    table.push((RECIPE, late));

    let mut figures = Figures::new(
        "refused",
        "time from SIGTERM to the first refused connect, 1 = half of those killed at once",
    );
    let mut half = distributions(&mut figures, &mut table);
    let (ours, recipe) = (half(OURS), half(RECIPE));
    figures.target(
        "times sooner than looking once a second",
        recipe / ours,
        Bound::AtLeast(50.0),
    );
    figures.publish();
}

/// Nanoseconds from the signal to the first connect that is refused.
fn refused(program: &Path, wait: Duration) -> f64 {
    let server = Server::start(Command::new(program));
    // It serves: its accept loop and its signal handler are there.
    assert!(!is_refused(server.addr()), "it listens");
    thread::sleep(wait);
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
