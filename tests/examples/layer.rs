use rustix::process::Signal;
use testkit::{client::Conn, process::Server};

use crate::{TIMEOUT, example};

/// Returns the body of the answer to a request on a fresh connection.
fn body(server: &Server, path: &str) -> String {
    let mut conn = Conn::open(server.addr()).expect("it listens");
    conn.get(path).expect("room");
    let response = conn.read_response().expect("an answer");
    String::from_utf8(response.body).expect("text")
}

#[test]
fn a_part_of_a_router_is_counted_apart() {
    let mut server = Server::start(example("layer"), &[]).expect("it starts");
    assert_eq!(body(&server, "/exports"), "exports in flight: 0\n");
    let mut export = Conn::open(server.addr()).expect("it listens");
    export.get("/export").expect("room");
    while body(&server, "/exports") != "exports in flight: 1\n" {}
    server.signal(Signal::TERM).expect("it runs");

    let response = export.read_response().expect("an answer");
    assert_eq!(response.body, b"exported\n");
    assert!(response.head.closes(), "{:?}", response.head);
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
}
