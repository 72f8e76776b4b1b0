use rustix::process::Signal;
use testkit::{client::Conn, process::Server};

use crate::{TIMEOUT, example};

/// The executor's threads run until the shutdown has ended.
#[test]
fn a_request_in_flight_outlasts_the_signal() {
    let mut server = Server::start(example("smol_main"), &[]).expect("it starts");
    let mut conn = Conn::open(server.addr()).expect("it listens");
    conn.get("/").expect("room");
    // The connection is at least in the kernel's queue, which is emptied.
    server.signal(Signal::TERM).expect("it runs");
    let response = conn.read_response().expect("an answer");
    assert_eq!(response.body, b"hello\n");
    assert!(response.head.closes());
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
}
