use rustix::process::Signal;
use testkit::{client::Conn, process::Server};

use crate::{TIMEOUT, example};

/// Z2, Z3, Z5
#[test]
fn a_request_in_flight_is_answered_with_close() {
    let mut server = Server::start(example("watch"), &[]).expect("it starts");
    let mut conn = Conn::open(server.addr()).expect("it listens");
    let addr = conn.socket().local_addr().expect("a bound socket");
    conn.get("/").expect("room");
    server.signal(Signal::TERM).expect("it runs");
    let response = conn.read_response().expect("an answer");
    assert_eq!(response.body, format!("hello, {addr}\n").into_bytes());
    assert!(response.head.closes(), "{:?}", response.head);
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
}
