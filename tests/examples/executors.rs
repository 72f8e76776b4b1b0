use rustix::process::Signal;
use testkit::{client::Conn, process::Server};

use crate::{TIMEOUT, example};

/// Z5
#[test]
fn requests_on_all_executors_are_answered() {
    let mut server = Server::start(example("executors"), &[]).expect("it starts");
    let mut conns: Vec<_> = (0..8)
        .map(|_| {
            let mut conn = Conn::open(server.addr()).expect("it listens");
            conn.get("/").expect("room");
            conn
        })
        .collect();
    server.signal(Signal::TERM).expect("it runs");
    for conn in &mut conns {
        let response = conn.read_response().expect("an answer");
        assert!(response.body.starts_with(b"hello from executor "));
        assert!(response.head.closes(), "{:?}", response.head);
    }
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
}
