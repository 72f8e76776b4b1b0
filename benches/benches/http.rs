//! What the drain costs a server: requests per second, p99, CPU time and instructions a request of
//! a server with testkit's routes, beside the same server without the drain's adapter; trillium on
//! smol and axum on tokio for orientation.
//!
//! Each is a process on the first core, loaded by wrk (HTTP/2: h2load) from the second, in rounds
//! of a second that alternate. Where its memory happens to lie makes a process some percent faster
//! or slower than the next one of the same program, for as long as it lives. So all are started
//! again after a few rounds, whose median counts once, and the server without the drain runs twice:
//! the second tells how much two servers differ that are the same. `HTTP_STARTS` sets how often
//! they are started (30).

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use async_drain_bench::{
    figures::{Bound, Figures},
    paired::Ratios,
    race::{order, quantile},
    server::{Server, built, found, on_core},
};

const OURS: &str = "async-drain";
const BARE: &str = "without the drain";
/// As `Server::new` makes it. The other has an executor of its own, which takes tasks as they are.
const BOXED: &str = "async-drain, boxed tasks";
/// The same program again.
const AGAIN: &str = "without the drain, again";
/// The other servers are started less often, since their third digit doesn't matter.
const FOR_ORIENTATION: usize = 8;
/// What is measured over HTTP/1.
const CASES: [&str; 3] = ["requests/s", "p99", "CPU time"];
/// The rounds of each start.
const ROUNDS: usize = 4;

fn main() {
    let starts = env::var("HTTP_STARTS").map_or(30, |n| n.parse().expect("HTTP_STARTS"));
    let mut figures = Figures::new("http", "per request, 1 = the same server without the drain");
    let programs = ["bare", "drained"].map(|name| built("benches/http", ["--bin", name]));
    let [bare, ours] = &programs;
    if found("wrk") {
        let trillium = built("integrations/trillium", ["--bin", "trillium"]);
        let axum = built("peers/axum", ["--bin", "peer-axum"]);
        let contenders = [
            (BARE, bare),
            (OURS, ours),
            (AGAIN, bare),
            ("trillium on smol", &trillium),
            ("axum on tokio", &axum),
        ];
        versus(&mut figures, &contenders, starts);
        if found("h2load") {
            http2(&mut figures, bare, ours, starts);
        }
    }
    if found("valgrind") {
        let [bare, ours] = programs.map(|program| instructions(&program));
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

/// Ratios to the first of `contenders`, which is the one without the drain.
fn versus(figures: &mut Figures, contenders: &[(&str, &PathBuf)], starts: usize) {
    let mut ratios = vec![[const { Ratios::new() }; 3]; contenders.len()];
    for start in 0..starts {
        let all = start % FOR_ORIENTATION == 0;
        let contenders = &contenders[..if all { contenders.len() } else { 3 }];
        let servers: Vec<_> = contenders
            .iter()
            .map(|(_, program)| Server::start(on_core(0, program)))
            .collect();
        let loads = medians(start, &servers, |server| {
            let before = server.cpu_time();
            let [requests, per_second, p99] = wrk(server.addr());
            let used = server.cpu_time().saturating_sub(before);
            [per_second, p99, used.as_secs_f64() / requests]
        });
        for (load, ratios) in loads.iter().zip(&mut ratios) {
            for ((ratios, ours), theirs) in ratios.iter_mut().zip(load).zip(loads[0]) {
                ratios.add(*ours, theirs);
            }
        }
    }
    for ((who, _), ratios) in contenders.iter().zip(&ratios) {
        for (case, ratios) in CASES.iter().zip(ratios) {
            figures.add(case, who, ratios.median());
        }
    }
    for (case, ratios) in CASES.iter().zip(&ratios[2]) {
        let (from, to) = ratios.interval();
        println!("two servers without the drain: {case} {from:.2} to {to:.2}");
    }
    let [per_second, p99, cpu] = &ratios[1];
    for (case, ratios) in CASES.iter().zip(&ratios[1]) {
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

/// Loads each of the servers once, since the first requests are slower for everyone, and then in
/// rounds that alternate. Returns the median of each one's measurements.
fn medians<const N: usize>(
    start: usize,
    servers: &[Server],
    load: impl Fn(&Server) -> [f64; N],
) -> Vec<[f64; N]> {
    let mut loads = vec![[const { Vec::new() }; N]; servers.len()];
    for server in servers {
        let _: [f64; N] = load(server);
    }
    for round in start..start + ROUNDS {
        for i in order(round, servers.len()) {
            for (all, measured) in loads[i].iter_mut().zip(load(&servers[i])) {
                all.push(measured);
            }
        }
    }
    let median = |mut all: Vec<f64>| quantile(&mut all, 0.5);
    loads.into_iter().map(|all| all.map(median)).collect()
}

fn http2(figures: &mut Figures, bare: &PathBuf, ours: &PathBuf, starts: usize) {
    let mut ratios = [const { Ratios::new() }; 3];
    for start in 0..starts {
        let mut boxed = on_core(0, ours);
        boxed.env("BOXED", "1");
        let servers = [on_core(0, bare), on_core(0, ours), boxed, on_core(0, bare)];
        let loads = medians(start, &servers.map(Server::start), |server| {
            [h2load(server.addr())]
        });
        for (ratios, [load]) in ratios.iter_mut().zip(&loads[1..]) {
            ratios.add(*load, loads[0][0]);
        }
    }
    let [ours, boxed, again] = &ratios;
    figures.add("HTTP/2 req/s", BARE, 1.0);
    figures.add("HTTP/2 req/s", OURS, ours.median());
    figures.add("HTTP/2 req/s", BOXED, boxed.median());
    figures.add("HTTP/2 req/s", AGAIN, again.median());
    sure(figures, "HTTP/2 req/s", ours);
    for (form, ratios) in [("", ours), (", with boxed tasks", boxed)] {
        figures.interval(
            format!("HTTP/2 requests per second{form}, times those without the drain"),
            ratios,
            Bound::AtLeast(0.98),
        );
    }
}

/// Runs closed loops on 32 connections for a second. Returns how many requests were answered, how
/// many a second, and the p99.
fn wrk(addr: SocketAddr) -> [f64; 3] {
    let said = said(
        on_core(1, "wrk")
            .args(["-t1", "-c32", "-d1s", "--latency"])
            .arg(format!("http://{addr}/")),
    );
    let number = |line: Option<&str>| line.and_then(|l| l.split_whitespace().next()?.parse().ok());
    let after = |start: &str| said.lines().find_map(|l| l.trim().strip_prefix(start));
    let requests = number(said.lines().find(|l| l.contains(" requests in ")));
    let p99 = after("99%").and_then(|l| seconds(l.trim()));
    assert!(requests > Some(0.0) && !said.contains("Non-2xx"), "{said}");
    [requests, number(after("Requests/sec:")), p99].map(|n| n.unwrap_or(f64::NAN))
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
