//! Each program with an accept loop of its own keeps what the server of this crate keeps.
//! ci/integrations.sh has the loss meter count what it loses under load.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use testkit::{client::Conn, process::Server};

const TIMEOUT: Duration = Duration::from_secs(20);

fn programs() -> [&'static str; 4] {
    [
        env!("CARGO_BIN_EXE_on-tokio"),
        env!("CARGO_BIN_EXE_on-async-std"),
        env!("CARGO_BIN_EXE_on-smol-hyper"),
        env!("CARGO_BIN_EXE_on-compio"),
    ]
}

/// Z2, Z3, Z5: what is in flight is answered, and an idle connection may send one more request.
#[test]
fn requests_in_flight_and_one_more_are_answered() {
    for program in programs() {
        let mut server = Server::start(program, &[]).expect("it starts");
        let connect = || Conn::open(server.addr()).expect("it listens");
        let (mut busy, mut idle) = (connect(), connect());
        idle.get("/").expect("an open connection");
        assert_eq!(idle.read_response().expect("an answer").body, b"hello\n");
        busy.get("/sleep/500").expect("an open connection");
        // Accepted in order: an answer to a later connection says that the others are.
        let mut later = connect();
        later.get("/").expect("an open connection");
        later.read_response().expect("an answer");
        server.signal(Signal::TERM).expect("it runs");
        wait_until_refused(server.addr());
        idle.get("/").expect("an open connection");
        let last = idle.read_response().expect("an answer");
        assert!(last.head.closes(), "{program}: {:?}", last.head);
        let slept = busy.read_response().expect("an answer");
        assert_eq!(slept.body, b"slept\n", "{program}");
        assert!(slept.head.closes(), "{program}: {:?}", slept.head);
        let exit = server.wait(TIMEOUT).expect("it ends");
        assert!(exit.status.success(), "{program}: {}", exit.stderr);
        assert!(exit.report.starts_with("drained: "), "{}", exit.stderr);
    }
}

/// Connections that are queued at a frozen server are served.
#[test]
fn queued_connections_are_served() {
    for program in programs() {
        let mut server = Server::start(program, &[]).expect("it starts");
        server.stop().expect("it runs");
        let mut peers: Vec<_> = (0..20)
            .map(|_| {
                let mut peer = Conn::open(server.addr()).expect("it listens");
                peer.get("/").expect("an open connection");
                peer
            })
            .collect();
        server.signal(Signal::TERM).expect("it runs");
        server.cont().expect("it runs");
        for peer in &mut peers {
            let answer = peer.read_response().expect("an answer");
            assert_eq!(answer.body, b"hello\n", "{program}");
        }
        let exit = server.wait(TIMEOUT).expect("it ends");
        assert!(exit.status.success(), "{program}: {}", exit.stderr);
    }
}

/// Z1, Z10: connections that are queued when draining begins, since no descriptor is free, are
/// served once idle connections have given up theirs. An accept loop that ends without
/// `net::retire` resets them.
#[test]
fn connections_queued_without_descriptors_are_served() {
    for program in programs() {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 32; exec \"$0\"", program]);
        command.env("ADDR", "127.0.0.1:0");
        let mut server = Server::spawn(command).expect("it starts");
        // Each keeps its descriptor until draining begins, so at least 32 are queued then.
        let mut peers: Vec<_> = (0..64)
            .map(|_| Conn::open(server.addr()).expect("it listens"))
            .collect();
        for peer in &mut peers {
            peer.get("/").expect("an open connection");
        }
        server.signal(Signal::TERM).expect("it runs");
        let lost: Vec<_> = peers
            .iter_mut()
            .filter_map(|peer| peer.read_response().err())
            .collect();
        assert!(lost.is_empty(), "{program}: {} lost: {lost:?}", lost.len());
        let exit = server.wait(TIMEOUT).expect("it ends");
        assert!(exit.status.success(), "{program}: {}", exit.stderr);
    }
}

fn wait_until_refused(addr: SocketAddr) {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        let connected = TcpStream::connect_timeout(&addr, Duration::from_millis(50));
        if connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            return;
        }
    }
    panic!("connects are not refused after {TIMEOUT:?}");
}
