//! Generations of a server that follow each other under load, and what its clients see of it.

use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{client::Conn, process::Server};

/// A connect that takes longer was dropped once by the kernel, which tries again after a second.
pub const SLOW: Duration = Duration::from_millis(900);
/// How long a generation may take to begin and to end.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How many requests are answered before the next generation begins.
const ENOUGH: usize = 100;
/// Clients that connect for each request, and as many that keep their connections.
const CLIENTS: usize = 4;

/// How a generation follows another.
#[derive(Debug)]
pub enum Hand<'a> {
    /// The program starts one at each SIGHUP, and says `generation N` when it is ready.
    Hangup(Command),
    /// Each is a process of its own, in one `SO_REUSEPORT` group.
    Group(&'a Path),
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub connects: usize,
    pub answered: usize,
    /// Connects that were refused.
    pub refused: usize,
    /// Connects that took longer than [`SLOW`].
    pub slow: usize,
    pub slowest: Duration,
    /// Requests without a whole answer, in the words of their error.
    pub lost: Vec<String>,
    /// What wrk saw, if it was there: requests, and socket errors of any kind.
    pub wrk: Option<(usize, usize)>,
}

impl Seen {
    /// Returns whether nobody could tell that there was more than one generation.
    pub fn is_clean(&self) -> bool {
        let wrk = self.wrk.is_none_or(|(_, errors)| errors == 0);
        self.refused == 0 && self.slow == 0 && self.lost.is_empty() && self.answered > 0 && wrk
    }

    fn add(&mut self, other: Self) {
        self.connects += other.connects;
        self.answered += other.answered;
        self.refused += other.refused;
        self.slow += other.slow;
        self.slowest = self.slowest.max(other.slowest);
        self.lost.extend(other.lost);
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>9} {:>9} {:>7} {:>6} {:>7.1} ms {:>5}",
            self.answered,
            self.connects,
            self.refused,
            self.slow,
            self.slowest.as_secs_f64() * 1e3,
            self.lost.len(),
        )?;
        match self.wrk {
            Some((requests, errors)) => write!(f, " {requests:>9} {errors:>10}"),
            None => write!(f, " {:>9} {:>10}", "-", "-"),
        }
    }
}

/// Restarts a server this many times under load, to which `wrk` adds its own.
pub fn play(hand: Hand<'_>, generations: usize, wrk: bool) -> io::Result<Seen> {
    match hand {
        Hand::Hangup(command) => {
            let mut server = Server::spawn(command)?;
            server.wait_for_stdout("generation 1", TIMEOUT)?;
            let load = Load::start(server.addr(), wrk)?;
            for next in 2..=generations + 1 {
                load.wait()?;
                server.signal(Signal::HUP)?;
                server.wait_for_stdout(&format!("generation {next}"), TIMEOUT)?;
            }
            load.wait()?;
            let seen = load.end()?;
            server.signal(Signal::TERM)?;
            server.wait(TIMEOUT)?;
            Ok(seen)
        }
        Hand::Group(program) => {
            let mut current = Server::start(program, &[("REUSEPORT", "1")])?;
            let addr = current.addr().to_string();
            let load = Load::start(current.addr(), wrk)?;
            for _ in 0..generations {
                load.wait()?;
                let mut next = Command::new(program);
                next.env("REUSEPORT", "1").env("ADDR", &addr);
                let next = Server::spawn(next)?;
                current.signal(Signal::TERM)?;
                current.wait(TIMEOUT)?;
                current = next;
            }
            load.wait()?;
            let seen = load.end()?;
            current.signal(Signal::TERM)?;
            current.wait(TIMEOUT)?;
            Ok(seen)
        }
    }
}

/// Clients that send requests until they are told to end.
struct Load {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Seen>>,
    wrk: Option<Child>,
}

impl Load {
    fn start(addr: SocketAddr, wrk: bool) -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let clients = (0..2 * CLIENTS).map(|number| {
            let client = Client {
                addr,
                keep_alive: number % 2 == 0,
                over: Arc::clone(&over),
                answered: Arc::clone(&answered),
                seen: Seen::default(),
            };
            thread::spawn(|| client.run())
        });
        let clients = clients.collect();
        let wrk = wrk.then(|| {
            Command::new("wrk")
                .args(["-t1", "-c8", "-d3600s"])
                .arg(format!("http://{addr}/"))
                .stdout(Stdio::piped())
                .spawn()
        });
        Ok(Self {
            over,
            answered,
            clients,
            wrk: wrk.transpose()?,
        })
    }

    /// Waits until the present generation has answered some requests.
    fn wait(&self) -> io::Result<()> {
        let enough = self.answered.load(Ordering::Relaxed) + ENOUGH;
        let begun = Instant::now();
        while self.answered.load(Ordering::Relaxed) < enough {
            if begun.elapsed() > TIMEOUT {
                return Err(io::Error::other("no requests are answered"));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn end(self) -> io::Result<Seen> {
        self.over.store(true, Ordering::Relaxed);
        let mut seen = Seen::default();
        for client in self.clients {
            seen.add(
                client
                    .join()
                    .map_err(|_| io::Error::other("a client panicked"))?,
            );
        }
        if let Some(wrk) = self.wrk {
            kill_process(Pid::from_child(&wrk), Signal::INT)?;
            let output = wrk.wait_with_output()?;
            seen.wrk = Some(wrk_saw(&String::from_utf8_lossy(&output.stdout)));
        }
        Ok(seen)
    }
}

/// Reads the summary of wrk: its requests, and all of its errors.
fn wrk_saw(summary: &str) -> (usize, usize) {
    let requests = summary.lines().find_map(|line| {
        let (number, _) = line.trim().split_once(" requests in ")?;
        number.parse().ok()
    });
    let after = |words: &str| summary.split(words).nth(1).unwrap_or_default();
    let socket_errors = after("Socket errors:").lines().next().unwrap_or_default();
    let bad = after("Non-2xx or 3xx responses:").lines().next();
    let errors = [socket_errors, bad.unwrap_or_default()]
        .iter()
        .flat_map(|line| line.split(|c: char| !c.is_ascii_digit()))
        .filter_map(|number| number.parse::<usize>().ok())
        .sum();
    (requests.unwrap_or(0), errors)
}

struct Client {
    addr: SocketAddr,
    /// Whether connections are used for more than one request.
    keep_alive: bool,
    over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    seen: Seen,
}

impl Client {
    fn run(mut self) -> Seen {
        let mut open = None;
        while !self.over.load(Ordering::Relaxed) {
            let Some(mut conn) = open.take().or_else(|| self.connect()) else {
                continue;
            };
            match conn.get("/").and_then(|()| conn.read_response()) {
                Ok(response) if response.head.status == 200 => {
                    self.seen.answered += 1;
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    open = (self.keep_alive && !response.head.closes()).then_some(conn);
                }
                Ok(response) => self.seen.lost.push(format!("{:?}", response.head)),
                Err(error) => self.seen.lost.push(error.to_string()),
            }
        }
        self.seen
    }

    fn connect(&mut self) -> Option<Conn> {
        let begun = Instant::now();
        let conn = Conn::open(self.addr);
        let took = begun.elapsed();
        self.seen.connects += 1;
        self.seen.slowest = self.seen.slowest.max(took);
        self.seen.slow += usize::from(took > SLOW);
        self.seen.refused += usize::from(conn.is_err());
        conn.ok()
    }
}
