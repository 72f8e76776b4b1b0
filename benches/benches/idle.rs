//! Ten thousand idle keep-alive connections: what each takes of memory, and from SIGTERM on, how
//! long the server takes to end and how much CPU time that costs.
//!
//! Beside the same server without the drain, which SIGTERM kills, and peers that drain.
//! `IDLE_CONNECTIONS` (10000) and `IDLE_ROUNDS` (5) make it shorter.

use std::{
    env,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use async_drain_bench::{
    figures::{Bound, Figures},
    paired::Ratios,
    race::order,
    server::{Server, built, built_go, cpu_seconds_of_children},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const OURS: &str = "async-drain, grace 0";
const DEFAULT: &str = "async-drain";
const BARE: &str = "without the drain";
const PEER: &str = "hyper-util's graceful";
/// What is in memory once, however many connections there are, is there after so many.
const FIRST: usize = 200;

struct Contender {
    who: &'static str,
    program: PathBuf,
    environment: &'static [(&'static str, &'static str)],
}

fn main() {
    let number = |name, default| env::var(name).map_or(default, |n| n.parse().expect(name));
    let connections = room_for(number("IDLE_CONNECTIONS", 10_000));
    let rounds = number("IDLE_ROUNDS", 5);

    let contenders = contenders();
    let mut ratios = vec![[const { Ratios::new() }; 3]; contenders.len()];
    for round in 0..rounds {
        let mut samples = vec![Sample::default(); contenders.len()];
        for i in order(round, contenders.len()) {
            samples[i] = measured(&contenders[i], connections);
        }
        let memory = samples[0].bytes;
        let (time, cpu) = (samples[1].seconds, samples[1].cpu);
        for (sample, ratios) in samples.iter().zip(&mut ratios) {
            ratios[0].add(sample.bytes, memory);
            ratios[1].add(sample.seconds, time);
            ratios[2].add(sample.cpu, cpu);
        }
    }

    let mut figures = Figures::new(
        "idle",
        "of each idle connection, 1 = memory without the drain, time of hyper-util's graceful",
    );
    for (contender, ratios) in contenders.iter().zip(&ratios) {
        figures.add("memory", contender.who, ratios[0].median());
        if contender.who != BARE {
            figures.add("to the exit", contender.who, ratios[1].median());
            figures.add("CPU time", contender.who, ratios[2].median());
        }
    }
    let of = |who, what: usize| {
        let found = contenders.iter().position(|c| c.who == who);
        found.map_or_else(Ratios::new, |i| ratios[i][what].clone())
    };
    figures.interval(
        "memory of a connection, times that without the drain",
        &of(DEFAULT, 0),
        Bound::AtMost(0.69),
    );
    figures.interval(
        "CPU time of the drain, times that of hyper-util's graceful",
        &of(DEFAULT, 2),
        Bound::AtMost(1.1),
    );
    figures.interval(
        "to the exit without a keep-alive grace, times hyper-util's graceful",
        &of(OURS, 1),
        Bound::AtMost(1.1),
    );
    figures.publish();
}

/// Returns the contenders, the two that the others are compared with first.
fn contenders() -> Vec<Contender> {
    let contender = |who, program, environment| Contender {
        who,
        program,
        environment,
    };
    let drained = built("benches/http", ["--bin", "drained"]);
    let mut contenders = vec![
        contender(BARE, built("benches/http", ["--bin", "bare"]), &[][..]),
        contender(PEER, built("peers/hyper", ["--bin", "peer-hyper"]), &[]),
        contender(DEFAULT, drained.clone(), &[]),
        contender(
            OURS,
            drained,
            &[
                ("KEEP_ALIVE_GRACE_MS", "0"),
                ("FIRST_REQUEST_GRACE_MS", "0"),
            ],
        ),
        contender(
            "trillium on smol",
            built("integrations/trillium", ["--bin", "trillium"]),
            &[],
        ),
        contender(
            "axum on tokio",
            built("peers/axum", ["--bin", "peer-axum"]),
            &[],
        ),
    ];
    let go = built_go("peers/main.go");
    contenders.extend(go.map(|go| contender("Go's Shutdown", go, &[])));
    contenders
}

/// Returns how many connections to open: as many as wanted, or as one process may have.
fn room_for(connections: usize) -> usize {
    const OTHERS: usize = 100;
    let limit = getrlimit(Resource::Nofile);
    // The servers inherit it.
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
    let room = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = usize::try_from(room).unwrap_or(usize::MAX) - OTHERS;
    if room < connections {
        println!("only {room} connections: see ulimit -Hn");
    }
    connections.min(room)
}

#[derive(Clone, Debug, Default)]
struct Sample {
    bytes: f64,
    seconds: f64,
    cpu: f64,
}

fn measured(contender: &Contender, connections: usize) -> Sample {
    let mut command = Command::new(&contender.program);
    command.envs(contender.environment.iter().copied());
    let mut server = Server::start(command);
    let mut idle = opened(server.addr(), FIRST);
    let before = settled(&server);
    idle.extend(opened(server.addr(), connections));
    let bytes = settled(&server).saturating_sub(before) as f64 / connections as f64;

    let used = server.cpu_time();
    let of_others = cpu_seconds_of_children();
    let told = Instant::now();
    server.terminate();
    server.wait();
    let seconds = told.elapsed().as_secs_f64();
    let cpu = cpu_seconds_of_children() - of_others - used.as_secs_f64();
    drop(idle);
    Sample {
        bytes,
        seconds,
        cpu: cpu.max(0.0),
    }
}

/// Connections that have had one answer each.
fn opened(addr: SocketAddr, connections: usize) -> Vec<TcpStream> {
    let open = || -> io::Result<TcpStream> {
        let mut conn = TcpStream::connect(addr)?;
        write!(conn, "GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n")?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello\n") {
            let mut bytes = [0; 1024];
            match conn.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => answer.extend(&bytes[..read]),
            }
        }
        Ok(conn)
    };
    (0..connections)
        .map(|_| open().expect("an answer"))
        .collect()
}

/// Bytes in memory once the server has gone to sleep.
fn settled(server: &Server) -> usize {
    let mut used = server.cpu_time();
    loop {
        thread::sleep(Duration::from_millis(100));
        let now = server.cpu_time();
        // One that looks around every now and then is asleep too.
        if now.saturating_sub(used) < Duration::from_millis(2) {
            return server.resident();
        }
        used = now;
    }
}
