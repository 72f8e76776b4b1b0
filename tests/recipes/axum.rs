use std::{io::ErrorKind, net::TcpStream};

use rustix::process::Signal;

use crate::{
    SOON, example,
    support::{client::Conn, process::Server},
};

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
    conn.get("/stream/10/20").expect("room");
    let head = conn.read_head().expect("a head");
    assert!(!head.closes(), "not before the signal");
    let mut asleep = Conn::open(server.addr()).expect("it listens");
    asleep.get("/sleep/200").expect("room");
    server.signal(Signal::TERM).expect("it runs");

    assert!(conn.read_body().expect("all of it").ends_with(b"chunk 9\n"));
    let response = asleep.read_response().expect("an answer");
    assert!(response.head.closes(), "{:?}", response.head);
    assert!(asleep.is_eof(SOON).expect("no reset"));
    let exit = server.wait(SOON).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    let refused = TcpStream::connect(server.addr()).expect_err("it is gone");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
