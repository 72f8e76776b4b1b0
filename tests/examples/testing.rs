use rustix::process::Signal;
use testkit::{client::Conn, process::Server};

use crate::{TIMEOUT, example};

/// The program's own tests don't send the signal.
#[test]
fn the_program_stops_by_signal_as_its_tests_stop_it_by_hand() {
    let mut server = Server::start(example("testing"), &[]).expect("it starts");
    let mut conn = Conn::open(server.addr()).expect("it listens");
    conn.get("/").expect("room");
    server.signal(Signal::TERM).expect("it runs");
    let response = conn.read_response().expect("an answer");
    assert_eq!(response.body, b"hello\n");
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
}
