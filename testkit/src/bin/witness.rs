//! Counts every request that it sends through a proxy while the servers behind it are restarted.
//!
//! Half of the requests are POST, which no proxy may send twice; half of the clients connect anew
//! for each request. A request has **failed** if the proxy refused the connection, if no complete
//! answer came, or if it had another status or length than it should have.
//!
//! Run with: `sleep 10 | cargo run --bin witness -- 127.0.0.1:8080`. It counts until its standard
//! input ends, and prints one line. Exit status: 0 if no request failed, 1 if one did, 2 if nothing
//! could be counted.
#![forbid(unsafe_code)]

use std::{
    cell::Cell,
    env,
    io::{self, Error, Read, Result},
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use smol::{LocalExecutor, Timer};
use testkit::meter::{
    http1::{Http1, head},
    peer::Peer,
    tally::{Expected, Outcome, Tally},
    transport::Target,
};

/// Clients at once.
const CLIENTS: usize = 16;
/// The longest that a client pauses between two requests.
const THINK: Duration = Duration::from_millis(20);
/// An answer that takes longer is counted as slow.
const SLOW: Duration = Duration::from_millis(500);
/// What a POST sends, and gets back from `/echo`.
const UPLOAD: &[u8] = &[b'x'; 2000];

fn main() -> ExitCode {
    match env::args().nth(1).map(|addr| addr.parse()) {
        Some(Ok(addr)) => match watch(addr) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("witness: {error}");
                ExitCode::from(2)
            }
        },
        _ => {
            eprintln!("usage: witness ADDR, e.g. 127.0.0.1:8080");
            ExitCode::from(2)
        }
    }
}

/// Counts until the standard input ends, and returns whether no request failed.
fn watch(addr: SocketAddr) -> Result<bool> {
    let target = Target { addr, tls: None };
    let over = Cell::new(false);
    let executor = LocalExecutor::new();
    let counts = smol::block_on(executor.run(async {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| executor.spawn(client(&target, &over, number % 2 == 0)))
            .collect();
        smol::unblock(|| io::stdin().read_to_end(&mut Vec::new())).await?;
        over.set(true);
        let mut total = Counts::default();
        for client in clients {
            total.add(client.await?);
        }
        Ok::<_, Error>(total)
    }))?;
    println!("{}", counts.line());
    Ok(counts.failed() == 0)
}

/// Sends requests one after the other, on one connection for as long as the proxy keeps it, or each
/// on a new one.
async fn client(target: &Target, over: &Cell<bool>, keep_alive: bool) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut connection = None;
    while !over.get() {
        Timer::after(THINK.mul_f64(fastrand::f64())).await;
        let began = Instant::now();
        let mut http = match reusable(connection.take()).await {
            Some(http) => http,
            None => match target.connect().await? {
                Some(stream) => Http1::new(stream),
                None => {
                    counts.tally.refused += 1;
                    continue;
                }
            },
        };
        let (request, expected) = random_request(keep_alive);
        counts.posts += u64::from(request.starts_with(b"POST"));
        let outcome = http.ask(&request).await;
        counts.time(began.elapsed());
        counts.tally.record(outcome, expected);
        if keep_alive && matches!(outcome, Outcome::Answered { leaving: false, .. }) {
            connection = Some(http);
        }
    }
    Ok(counts)
}

/// Returns the connection, unless the proxy has closed it since the last answer.
async fn reusable(connection: Option<Http1>) -> Option<Http1> {
    let mut http = connection?;
    http.look().await.then_some(http)
}

/// Draws a short or a long request, by GET or by POST.
fn random_request(keep_alive: bool) -> (Vec<u8>, Expected) {
    let close = if keep_alive {
        ""
    } else {
        "connection: close\r\n"
    };
    match fastrand::u8(..8) {
        0 => (head("GET", "/sleep/50", close), Expected::OK),
        1..4 => (head("GET", "/", close), Expected::OK),
        4 => {
            let fields = format!("{close}content-length: 0\r\n");
            (head("POST", "/sleep/50", &fields), Expected::OK)
        }
        _ => {
            let fields = format!("{close}content-length: {}\r\n", UPLOAD.len());
            let mut request = head("POST", "/echo", &fields);
            request.extend(UPLOAD);
            let body = Some(UPLOAD.len() as u64);
            (request, Expected { status: 200, body })
        }
    }
}

/// What clients saw.
#[derive(Default)]
struct Counts {
    tally: Tally,
    posts: u64,
    slow: u64,
    slowest: Duration,
}

impl Counts {
    fn time(&mut self, elapsed: Duration) {
        self.slow += u64::from(elapsed > SLOW);
        self.slowest = self.slowest.max(elapsed);
    }

    fn add(&mut self, other: Self) {
        self.tally += other.tally;
        self.posts += other.posts;
        self.slow += other.slow;
        self.slowest = self.slowest.max(other.slowest);
    }

    fn failed(&self) -> u64 {
        self.tally.lost() + self.tally.wrong.values().sum::<u64>() + self.tally.refused
    }

    /// `KEY VALUE` pairs, for people and scripts alike, and then the reasons.
    fn line(&self) -> String {
        let mut line = format!(
            "requests {} posts {} failed {} slow {} slowest {:.3}",
            self.tally.requests,
            self.posts,
            self.failed(),
            self.slow,
            self.slowest.as_secs_f64(),
        );
        let wrong = self.tally.wrong.iter();
        let reasons = wrong
            .map(|(status, count)| format!("{count} × status {status}"))
            .chain(
                self.tally
                    .losses
                    .iter()
                    .map(|(loss, count)| format!("{count} × {loss}")),
            )
            .chain((self.tally.refused > 0).then(|| format!("{} × refused", self.tally.refused)));
        for reason in reasons {
            line.push_str("; ");
            line.push_str(&reason);
        }
        line
    }
}
