//! `Drain::drive` with a real trillium server on smol: what swansong gives trillium, and what the
//! drain adds.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use async_drain::{Drain, Phase, Report, Shutdown};
use smol::{Timer, block_on};
use swansong::Swansong;
use trillium::Conn;
use trillium_server_common::ServerHandle;

struct Running {
    drain: Drain,
    swansong: Swansong,
    server: ServerHandle,
    addr: SocketAddr,
}

impl Running {
    /// `/MS` answers after so many milliseconds.
    fn start() -> Self {
        let drain = Drain::tracked();
        let swansong = Swansong::new();
        let server = trillium_smol::config()
            .with_host("127.0.0.1")
            .with_port(0)
            .without_signals()
            .with_swansong(swansong.clone())
            .spawn(|conn: Conn| async move {
                let pause = conn.path().trim_start_matches('/').parse().unwrap_or(0);
                Timer::after(Duration::from_millis(pause)).await;
                conn.ok("hello")
            });
        let info = block_on(server.info());
        let addr = *info.tcp_socket_addr().expect("a TCP listener");
        Self {
            drain,
            swansong,
            server,
            addr,
        }
    }

    fn connect(&self) -> TcpStream {
        let conn = TcpStream::connect(self.addr).expect("it listens");
        let timeout = Some(Duration::from_secs(10));
        conn.set_read_timeout(timeout).expect("an open socket");
        conn
    }

    /// As in `main`: the server is trillium's own task, and what runs here is the bridge.
    fn stop(&self, grace: Duration) -> Report {
        let drive = self.drain.drive(self.swansong.clone());
        // A driver that is told to give up does so at once, and not only when the abort grace is
        // over.
        smol::spawn(self.drain.run_until_aborting(drive)).detach();
        self.drain.begin();
        let shutdown = Shutdown::new(&self.drain).grace(grace);
        block_on(shutdown.run(self.drain.until_draining()))
    }
}

fn get(conn: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    conn.write_all(request.as_bytes()).expect("room");
}

fn rest(mut conn: TcpStream) -> String {
    let mut text = String::new();
    conn.read_to_string(&mut text).expect("no reset");
    text
}

#[test]
fn a_request_in_flight_is_answered_and_an_idle_connection_closed() {
    let running = Running::start();
    let mut idle = running.connect();
    get(&mut idle, "/0");
    let mut first = [0; 12];
    idle.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    let mut busy = running.connect();
    get(&mut busy, "/300");
    while running.swansong.guard_count() < 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50));

    let report = running.stop(Duration::from_secs(10));
    assert!(report.is_drained(), "{report}");
    assert!(report.draining() < Duration::from_secs(5), "{report}");
    let answer = rest(busy).to_lowercase();
    assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("hello"), "{answer}");
    rest(idle);
    let refused = TcpStream::connect(running.addr).expect_err("it has stopped accepting");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(running.swansong.state().is_complete());
    assert_eq!(running.drain.phase(), Phase::Drained);
}

/// L3: a request without end is abandoned; trillium alone has no deadline and would wait for ever.
#[test]
fn a_request_that_does_not_end_is_cut_at_the_deadline_and_named() {
    let running = Running::start();
    let mut stuck = running.connect();
    get(&mut stuck, "/60000");
    while running.swansong.guard_count() < 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50));

    let begun = Instant::now();
    let report = running.stop(Duration::from_millis(200));
    assert!(begun.elapsed() < Duration::from_secs(5), "{report}");
    assert!(!report.is_drained());
    let text = report.to_string();
    assert!(text.contains("still in flight: swansong"), "{text}");
    // The work itself goes on until the process ends: only trillium could cancel it.
    assert!(running.swansong.state().is_shutting_down());
    drop(running.server);
}
