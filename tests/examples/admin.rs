use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use testkit::{client::Conn, process::Server};

use crate::{TIMEOUT, example};

/// Returns the status and body of the answer to a request on a fresh connection.
fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    let mut conn = Conn::open(addr).expect("it listens");
    conn.get(path).expect("room");
    let response = conn.read_response().expect("an answer");
    let text = String::from_utf8(response.body).expect("text");
    (response.head.status, text)
}

#[test]
fn probes_and_metrics_are_answered_until_the_exit() {
    let mut server =
        Server::start(example("admin"), &[("ADMIN_ADDR", "127.0.0.1:0")]).expect("it starts");
    let line = server
        .wait_for_stdout("admin on ", Duration::from_secs(10))
        .expect("an address");
    let admin = line
        .trim_start_matches("admin on ")
        .trim()
        .parse()
        .expect("an address");
    let until = |path, wanted: (u16, &str)| {
        let limit = Instant::now() + TIMEOUT;
        loop {
            let answer = get(admin, path);
            if answer.0 == wanted.0 && answer.1.starts_with(wanted.1) {
                return;
            }
            assert!(Instant::now() < limit, "{answer:?}, and not {wanted:?}");
        }
    };
    until("/readyz", (200, "ready\n"));
    let mut slow = Conn::open(server.addr()).expect("it listens");
    slow.get("/slow").expect("room");
    let gauges = |ready, phase| {
        format!(
            "# TYPE requests_in_flight gauge\nrequests_in_flight 1\n\
             # TYPE ready gauge\nready {ready}\n# TYPE phase gauge\nphase {phase}\n"
        )
    };
    until("/metrics", (200, &gauges(1, 0)));

    server.signal(Signal::TERM).expect("it runs");
    until("/readyz", (503, "not ready: lame duck\n"));
    until("/readyz", (503, "not ready: draining\n"));
    until("/metrics", (200, &gauges(0, 2)));
    let (_, told) = get(admin, "/metrics");
    for gauge in [
        "connections_idle 0",
        "oldest_request_seconds ",
        "shutdown_seconds_left ",
    ] {
        assert!(told.contains(&format!("\n{gauge}")), "{told}");
    }
    assert_eq!(get(admin, "/livez"), (200, "alive\n".to_owned()));
    let answer = slow.read_response().expect("an answer");
    assert_eq!(answer.head.status, 200);
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    let refused = TcpStream::connect(admin).expect_err("it is gone");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
