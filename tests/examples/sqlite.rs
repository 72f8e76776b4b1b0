use std::{env, fs, iter, net::SocketAddr, process, thread, time::Duration};

use rusqlite::Connection;
use rustix::process::Signal;
use testkit::{client::Conn, process::Server};

use crate::TIMEOUT;

/// In the gate; `ROUNDS=50` is the long form.
fn rounds() -> u32 {
    let rounds = env::var("ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok());
    rounds.unwrap_or(4)
}

/// A database of this test, which is deleted when this is dropped.
struct Database(String);

impl Database {
    fn new(name: &str) -> Self {
        let file = format!("async-drain-{name}-{}.db", process::id());
        Self(
            env::temp_dir()
                .join(file)
                .to_str()
                .expect("text")
                .to_owned(),
        )
    }

    fn open(&self) -> Connection {
        let database = Connection::open(&self.0).expect("a database");
        database.busy_timeout(TIMEOUT).expect("a timeout");
        database
    }

    fn rows(&self) -> u32 {
        let count = self.open();
        count
            .query_one("SELECT count(*) FROM rows", (), |row| row.get(0))
            .expect("rows")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn start(database: &Database) -> Server {
    Server::start(crate::example("sqlite"), &[("DATABASE", &database.0)]).expect("a server")
}

/// Sends requests until the server no longer answers; returns how many were answered 200.
fn write(addr: SocketAddr) -> u32 {
    let mut answered = 0;
    let Ok(mut conn) = Conn::open(addr) else {
        return 0;
    };
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na row";
    while conn.send(post.as_bytes()).is_ok() {
        match conn.read_response() {
            Ok(response) if response.head.status == 200 => answered += 1,
            _ => break,
        }
    }
    answered
}

/// Loss: each request that was answered 200 is a row after the exit.
#[test]
fn each_request_that_was_answered_is_a_row_after_the_exit() {
    let database = Database::new("rows");
    let mut all = 0;
    for round in 0..rounds() {
        let mut server = start(&database);
        let addr = server.addr();
        let clients: Vec<_> = iter::repeat_with(|| thread::spawn(move || write(addr)))
            .take(3)
            .collect();
        // Somewhere among the requests, in each round elsewhere.
        thread::sleep(Duration::from_millis(20 + u64::from(round % 10) * 7));
        server.signal(Signal::TERM).expect("a live process");
        let exit = server.wait(TIMEOUT).expect("an exit");
        assert_eq!(exit.status.code(), Some(0), "{}", exit.stderr);
        let answered = clients
            .into_iter()
            .map(|client| client.join().expect("no panic"));
        let answered: u32 = answered.sum();
        assert!(answered > 0, "{}", exit.stderr);
        all += answered;
        assert_eq!(database.rows(), all, "in round {round}: {}", exit.stderr);
    }
}

/// Loss, L4: a second signal does not cut the flush.
#[test]
fn a_second_signal_while_rows_are_flushed_loses_none() {
    for round in 0..rounds() {
        let database = Database::new("flush");
        let mut server = start(&database);
        // Nothing can be written while this is open.
        let other = database.open();
        other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
        let mut conn = Conn::open(server.addr()).expect("the server listens");
        for _ in 0..25 {
            let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na row";
            conn.send(post.as_bytes()).expect("an open connection");
            assert_eq!(conn.read_response().expect("an answer").head.status, 200);
        }
        drop(conn);
        server.signal(Signal::TERM).expect("a live process");
        let flushing = "the drain is over: step flush the queue";
        server
            .wait_for_stderr(flushing, TIMEOUT)
            .expect("the flush");
        // A signal within 250 ms of the first is the same request. That has been counted by now.
        thread::sleep(Duration::from_millis(260));
        server.signal(Signal::TERM).expect("a live process");
        let heard = "SIGTERM, request 2 to stop: step flush the queue";
        server.wait_for_stderr(heard, TIMEOUT).expect("the second");
        other.execute_batch("COMMIT").expect("the end of the lock");
        let exit = server.wait(TIMEOUT).expect("an exit");
        assert_eq!(exit.status.code(), Some(0), "{}", exit.stderr);
        assert_eq!(database.rows(), 25, "in round {round}: {}", exit.stderr);
    }
}

/// L3: a flush that can't succeed in time is named, and makes the exit status 1; the database is
/// left as it was.
#[test]
fn a_flush_that_fails_is_named() {
    let database = Database::new("fails");
    let mut server = start(&database);
    database
        .open()
        .execute_batch("DROP TABLE rows")
        .expect("no table");
    let mut conn = Conn::open(server.addr()).expect("the server listens");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na row";
    conn.send(post.as_bytes()).expect("an open connection");
    assert_eq!(conn.read_response().expect("an answer").head.status, 200);
    drop(conn);
    server.signal(Signal::TERM).expect("a live process");
    let exit = server.wait(TIMEOUT).expect("an exit");
    assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
    let failed = "\nstep flush the queue failed after 0 s: no such table: rows\n";
    assert!(exit.stderr.contains(failed), "{}", exit.stderr);
    assert!(exit.report.starts_with("drained: "), "{}", exit.report);
}
