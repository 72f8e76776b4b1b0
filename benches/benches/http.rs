//! What the drain costs a server: requests per second, p99, CPU time and instructions a request of
//! a server with testkit's routes, beside the same server without the drain's adapter; trillium on
//! smol and axum on tokio for orientation.
//!
//! Each is a process on the first core, loaded by wrk (HTTP/2: h2load) from the second, in rounds
//! of one second that alternate. `HTTP_ROUNDS` sets how many (120).

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    thread,
    time::Duration,
};

use async_drain_bench::{
    figures::{Bound, Figures},
    paired::Ratios,
    race::order,
    server::{Server, built, found, on_core},
};

const OURS: &str = "async-drain";
const BARE: &str = "without the drain";
/// As `Server::new` makes it. The other has an executor of its own, which takes tasks as they are.
const BOXED: &str = "async-drain, boxed tasks";
/// The other servers need fewer rounds, since their third digit doesn't matter.
const FOR_ORIENTATION: usize = 8;

fn main() {
    let rounds = env::var("HTTP_ROUNDS").map_or(120, |n| n.parse().expect("HTTP_ROUNDS"));
    let mut figures = Figures::new("http", "per request, 1 = the same server without the drain");
    let programs = [
        (BARE, built("benches/http", ["--bin", "bare"])),
        (OURS, built("benches/http", ["--bin", "drained"])),
    ];
    let others = [
        (
            "trillium on smol",
            built("integrations/trillium", ["--bin", "trillium"]),
        ),
        ("axum on tokio", built("peers/axum", ["--bin", "peer-axum"])),
    ];
    if found("wrk") {
        let servers = programs.iter().chain(&others);
        let servers: Vec<_> = (servers)
            .map(|(who, program)| (*who, Server::start(on_core(0, program))))
            .collect();
        // The first requests are slower for everyone.
        for (_, server) in &servers {
            wrk(server.addr());
        }
        versus(&mut figures, &servers, rounds);
        if found("h2load") {
            let mut boxed = on_core(0, &programs[1].1);
            boxed.env("BOXED", "1");
            let boxed = Server::start(boxed);
            let addrs = [&servers[0].1, &servers[1].1, &boxed].map(Server::addr);
            http2(&mut figures, addrs, rounds / 2);
        }
    }
    if found("valgrind") {
        let [bare, ours] = programs.map(|(_, program)| instructions(&program));
        figures.add("instructions", BARE, 1.0);
        figures.add("instructions", OURS, ours / bare);
        figures.target(
            "instructions a request, times those without the drain",
            ours / bare,
            Bound::AtMost(1.01),
        );
    }
    figures.publish();
}

/// Ratios to the first of `servers`, which is the one without the drain.
fn versus(figures: &mut Figures, servers: &[(&str, Server)], rounds: usize) {
    let mut ratios = vec![[const { Ratios::new() }; 3]; servers.len()];
    for round in 0..rounds {
        let all = round % FOR_ORIENTATION == 0;
        let contenders = if all { servers.len() } else { 2 };
        let mut samples = vec![Load::default(); contenders];
        for i in order(round, contenders) {
            let server = &servers[i].1;
            let before = server.cpu_time();
            samples[i] = wrk(server.addr());
            let used = server.cpu_time().saturating_sub(before);
            samples[i].cpu = used.as_secs_f64() / samples[i].requests;
        }
        for (sample, ratios) in samples.iter().zip(&mut ratios) {
            let (theirs, [per_second, p99, cpu]) = (&samples[0], ratios);
            per_second.add(sample.per_second, theirs.per_second);
            p99.add(sample.p99, theirs.p99);
            cpu.add(sample.cpu, theirs.cpu);
        }
    }
    for ((who, _), ratios) in servers.iter().zip(&ratios) {
        for (case, ratios) in ["requests/s", "p99", "CPU time"].iter().zip(ratios) {
            figures.add(case, who, ratios.median());
        }
    }
    let [per_second, p99, cpu] = &ratios[1];
    for (case, ratios) in [("requests/s", per_second), ("p99", p99), ("CPU time", cpu)] {
        sure(figures, case, ratios);
    }
    figures.interval(
        "requests per second, times those without the drain",
        per_second,
        Bound::AtLeast(0.99),
    );
    figures.interval(
        "p99, times that without the drain",
        p99,
        Bound::AtMost(1.01),
    );
    figures.interval(
        "CPU time a request, times that without the drain",
        cpu,
        Bound::AtMost(1.01),
    );
}

fn sure(figures: &mut Figures, case: &str, ratios: &Ratios) {
    let (from, to) = ratios.interval();
    figures.add(case, "async-drain, at least (95 %)", from);
    figures.add(case, "async-drain, at most (95 %)", to);
}

/// The servers are the one without the drain, the one with it, and that with boxed tasks.
fn http2(figures: &mut Figures, servers: [SocketAddr; 3], rounds: usize) {
    let mut ratios = [const { Ratios::new() }; 2];
    for round in 0..rounds {
        let mut samples = [f64::NAN; 3];
        for i in order(round, 3) {
            samples[i] = h2load(servers[i]);
        }
        for (ratios, sample) in ratios.iter_mut().zip(&samples[1..]) {
            ratios.add(*sample, samples[0]);
        }
    }
    let [ours, boxed] = &ratios;
    figures.add("HTTP/2 req/s", BARE, 1.0);
    figures.add("HTTP/2 req/s", OURS, ours.median());
    figures.add("HTTP/2 req/s", BOXED, boxed.median());
    sure(figures, "HTTP/2 req/s", ours);
    for (form, ratios) in [("", ours), (", with boxed tasks", boxed)] {
        figures.interval(
            format!("HTTP/2 requests per second{form}, times those without the drain"),
            ratios,
            Bound::AtLeast(0.98),
        );
    }
}

#[derive(Clone, Debug, Default)]
struct Load {
    requests: f64,
    per_second: f64,
    p99: f64,
    cpu: f64,
}

/// Runs closed loops on 32 connections for a second.
fn wrk(addr: SocketAddr) -> Load {
    let said = said(
        on_core(1, "wrk")
            .args(["-t1", "-c32", "-d1s", "--latency"])
            .arg(format!("http://{addr}/")),
    );
    let number = |line: Option<&str>| line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    let after = |start: &str| said.lines().find_map(|l| l.trim().strip_prefix(start));
    let p99 = after("99%").and_then(|l| seconds(l.trim()));
    let load = Load {
        requests: number(said.lines().find(|l| l.contains(" requests in "))).unwrap_or(f64::NAN),
        per_second: number(after("Requests/sec:")).unwrap_or(f64::NAN),
        p99: p99.unwrap_or(f64::NAN),
        cpu: f64::NAN,
    };
    assert!(load.requests > 0.0 && !said.contains("Non-2xx"), "{said}");
    load
}

/// Parses a time such as `1.23ms`.
fn seconds(text: &str) -> Option<f64> {
    let unit = text.find(char::is_alphabetic)?;
    let number: f64 = text[..unit].parse().ok()?;
    Some(
        number
            * match &text[unit..] {
                "us" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                _ => return None,
            },
    )
}

/// Returns the requests per second of eight connections with 16 streams each, in one second.
fn h2load(addr: SocketAddr) -> f64 {
    let said = said(
        on_core(1, "h2load")
            .args(["-c8", "-m16", "-D1"])
            .arg(format!("http://{addr}/")),
    );
    let line = said.lines().find_map(|l| l.strip_prefix("finished in "));
    let per_second = line.and_then(|l| l.split(", ").nth(1)?.strip_suffix(" req/s")?.parse().ok());
    per_second.unwrap_or_else(|| panic!("{said}"))
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("a load tool");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// Instructions that the tasks of `program` take for a request, callgrind's count: those of the
/// connection, hyper and the handler, but not of the executor, whose threads race each other.
///
/// The difference of two runs, which start and end alike.
fn instructions(program: &std::path::Path) -> f64 {
    const FEW: usize = 500;
    const MANY: usize = 1500;
    (counted(program, MANY) - counted(program, FEW)) / (MANY - FEW) as f64
}

fn counted(program: &std::path::Path, requests: usize) -> f64 {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=async_task::raw::RawTask*::run")
        .arg(program)
        .env("SMOL_THREADS", "1")
        // It would count each byte of a `rep stosb` as an instruction.
        .env(
            "GLIBC_TUNABLES",
            "glibc.cpu.x86_rep_stosb_threshold=1000000000:glibc.cpu.x86_rep_movsb_threshold=1000000000",
        );
    let mut server = Server::start(command);
    one_by_one(server.addr(), requests).expect("answers");
    server.terminate();
    let said = server.stderr();
    server.wait();
    let collected = said.lines().find_map(|l| l.split("Collected : ").nth(1));
    collected
        .and_then(|n| n.trim().parse().ok())
        .unwrap_or_else(|| panic!("{said}"))
}

/// With a pause before each, so that the server has always gone to sleep: what it does is the same
/// each time.
fn one_by_one(addr: SocketAddr, requests: usize) -> std::io::Result<()> {
    let mut conn = TcpStream::connect(addr)?;
    conn.set_nodelay(true)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let mut answer = Vec::new();
    for _ in 0..requests {
        thread::sleep(Duration::from_millis(2));
        conn.write_all(request.as_bytes())?;
        answer.clear();
        while !answer.ends_with(b"hello\n") {
            let mut bytes = [0; 1024];
            let read = conn.read(&mut bytes)?;
            assert!(
                read > 0,
                "closed after {:?}",
                String::from_utf8_lossy(&answer)
            );
            answer.extend(&bytes[..read]);
        }
    }
    Ok(())
}
