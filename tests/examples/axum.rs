use std::{io::ErrorKind, net::TcpStream};

use rustix::process::Signal;
use testkit::{client::Conn, process::Server};

use crate::{TIMEOUT, example};

#[test]
fn handlers_see_the_address_of_the_peer() {
    let server = Server::start(example("axum"), &[]).expect("it starts");
    let mut conn = Conn::open(server.addr()).expect("it listens");
    let addr = conn.socket().local_addr().expect("a bound socket");
    conn.get("/peer").expect("room");
    let response = conn.read_response().expect("an answer");
    assert_eq!(response.body, format!("{addr}\n").into_bytes());
}

/// Z3, Z5
#[test]
fn a_request_in_flight_is_answered_with_close() {
    let mut server = Server::start(example("axum"), &[]).expect("it starts");
    let mut conn = Conn::open(server.addr()).expect("it listens");
    conn.get("/").expect("room");
    let response = conn.read_response().expect("an answer");
    assert!(!response.head.closes(), "not before the signal");
    let mut asleep = Conn::open(server.addr()).expect("it listens");
    asleep.get("/slow").expect("room");
    server.signal(Signal::TERM).expect("it runs");

    let response = asleep.read_response().expect("an answer");
    assert!(response.head.closes(), "{:?}", response.head);
    assert!(asleep.is_eof(TIMEOUT).expect("no reset"));
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    let refused = TcpStream::connect(server.addr()).expect_err("it is gone");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
