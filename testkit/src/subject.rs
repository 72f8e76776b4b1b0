//! The server under test, which is the program `hyper`, and checks of what a client sees of it.

use crate::client::Conn;
use crate::process::{Exit, Server};
use crate::server;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a server may take to end before the test gives up; a promise has a bound of its own.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// How late a server may end after the last byte that it had to write.
const AFTER_THE_LAST_BYTE: Duration = Duration::from_millis(200);
/// How long after a signal a server may do what it does at once: the signal takes time to arrive,
/// and then the listener retires.
pub const AT_ONCE: Duration = Duration::from_millis(500);

/// Starts the server with these settings.
pub fn hyper(env: &[(&str, &str)]) -> Server {
    Server::start(server("hyper"), env).expect("the example was built, by cargo before the tests")
}

/// Starts the server from a shell that has first run `setup`.
pub fn hyper_after(setup: &str) -> Server {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{setup}; exec \"$0\"")])
        .arg(server("hyper"))
        .env("ADDR", "127.0.0.1:0");
    Server::spawn(command).expect("the example was built, by cargo before the tests")
}

/// Waits until a server has ended.
pub fn end(server: &mut Server) -> Exit {
    server.wait(TIMEOUT).expect("the server ends")
}

/// Waits until a server has ended, and checks that it has lost nothing and says so.
pub fn drained(server: &mut Server) -> Exit {
    let exit = end(server);
    assert_eq!(exit.status.code(), Some(0), "{}", exit.stderr);
    assert!(exit.report.starts_with("drained: "), "{}", exit.stderr);
    exit
}

/// Connects to the server.
pub fn connect(server: &Server) -> Conn {
    Conn::open(server.addr()).expect("the server listens")
}

/// Connects, and sends a slow request.
pub fn ask(server: &Server, path: &str) -> Conn {
    let mut conn = connect(server);
    conn.get(path).expect("an open connection");
    overtaken(server);
    conn
}

/// Connects, and gets one answer.
pub fn idle(server: &Server) -> Conn {
    let mut conn = connect(server);
    hello(&mut conn, false);
    conn
}

/// Returns once the server has accepted all connections that were opened before, and read what they
/// had sent: a later one has been answered, and none of them overtakes another.
pub fn overtaken(server: &Server) {
    for _ in 0..2 {
        hello(&mut connect(server), false);
    }
}

/// Sends a request for `/` and reads the answer, which says `close` if it is the `last`.
pub fn hello(conn: &mut Conn, last: bool) {
    conn.get("/").expect("an open connection");
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(
        (answer.head.status, answer.body.as_slice()),
        (200, &b"hello\n"[..])
    );
    assert_eq!(answer.head.closes(), last, "{:?}", answer.head);
}

/// Returns once new connections are refused: draining has begun, and the listener is closed.
///
/// While the listener retires, the kernel does not answer at all. So no attempt waits for that.
pub fn refused(addr: SocketAddr) {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        match TcpStream::connect_timeout(&addr, Duration::from_millis(50)) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            Ok(_) | Err(_) => {}
        }
    }
    panic!("connects are not refused after {TIMEOUT:?}");
}

/// Asserts that what is measured holds in two of three runs, and so for their median: one that a
/// loaded machine has held up says nothing about the server.
pub fn two_of_three(bounds: RangeInclusive<Duration>, measure: impl Fn() -> Duration) {
    let (mut within, mut without) = (0, Vec::new());
    while within < 2 {
        let time = measure();
        if bounds.contains(&time) {
            within += 1;
        } else {
            eprintln!("{time:?}, and not within {bounds:?}");
            without.push(time);
        }
        assert!(without.len() < 2, "not within {bounds:?}: {without:?}");
    }
}

/// Returns the bounds from zero to `AFTER_THE_LAST_BYTE`.
pub fn after_the_last_byte() -> RangeInclusive<Duration> {
    Duration::ZERO..=AFTER_THE_LAST_BYTE
}

/// Returns the bounds from zero to [`AT_ONCE`].
pub fn at_once() -> RangeInclusive<Duration> {
    Duration::ZERO..=AT_ONCE
}

/// Returns the bounds from a tenth less than this to a tenth more.
pub fn a_tenth_around(budget: Duration) -> RangeInclusive<Duration> {
    budget * 9 / 10..=budget * 11 / 10
}
