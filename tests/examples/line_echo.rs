use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use testkit::process::Server;

use crate::{TIMEOUT, example};

struct Peer(BufReader<TcpStream>);

impl Peer {
    fn connect(server: &Server) -> Self {
        let conn = TcpStream::connect(server.addr()).expect("it listens");
        conn.set_read_timeout(Some(TIMEOUT))
            .expect("an open socket");
        Self(BufReader::new(conn))
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).expect("room");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line
    }
}

#[test]
fn every_line_sent_is_answered_and_every_peer_told() {
    let mut server = Server::start(example("line_echo"), &[]).expect("it starts");
    let mut peer = Peer::connect(&server);
    peer.say("one\n");
    assert_eq!(peer.line(), "one\n");
    // While the server is frozen, the kernel queues a connection, a line on it, and a line on an
    // old connection.
    server.stop().expect("it runs");
    let mut queued = Peer::connect(&server);
    queued.say("two\n");
    peer.say("three\nhalf");
    server.signal(Signal::TERM).expect("it runs");
    server.cont().expect("it runs");

    assert_eq!(
        (queued.line(), queued.line()),
        ("two\n".into(), "bye\n".into())
    );
    assert_eq!(
        (peer.line(), peer.line()),
        ("three\n".into(), "bye\n".into())
    );
    assert_eq!(peer.line(), "", "closed without a reset");
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    assert!(exit.report.starts_with("drained: "), "{}", exit.report);
    let refused = TcpStream::connect(server.addr()).expect_err("it is gone");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// Z8: a plain close, with bytes unread, would reset the connection.
#[test]
fn a_peer_that_goes_on_sending_is_not_reset() {
    let mut server = Server::start(example("line_echo"), &[]).expect("it starts");
    let mut peer = Peer::connect(&server);
    peer.say("one\n");
    assert_eq!(peer.line(), "one\n");
    let mut sending = peer.0.get_ref().try_clone().expect("an open socket");
    let told = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Half a line needs no answer; it is sent until it would be too late anyway.
            while !told.load(Ordering::Relaxed) && sending.write_all(&[b'x'; 4096]).is_ok() {
                thread::sleep(Duration::from_micros(100));
            }
        });
        server.signal(Signal::TERM).expect("it runs");
        let mut rest = String::new();
        let read = peer.0.read_to_string(&mut rest);
        told.store(true, Ordering::Relaxed);
        read.expect("no reset");
        assert_eq!(rest, "bye\n");
    });
    drop(peer);
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
}
