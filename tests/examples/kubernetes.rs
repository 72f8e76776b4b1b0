use rustix::process::Signal;
use testkit::{client::Conn, process::Server};

use crate::{TIMEOUT, example};

/// If the Pod was the last one, Kubernetes sends it connections for as long as it is ready.
#[test]
fn a_pod_that_was_deleted_serves_through_its_lame_duck() {
    let settings = [("LAME_DUCK_SECONDS", "1"), ("GRACE_SECONDS", "20")];
    let mut server = Server::start(example("kubernetes"), &settings).expect("it starts");
    let mut slow = Conn::open(server.addr()).expect("it listens");
    slow.get("/wait/2").expect("an open connection");
    server.signal(Signal::TERM).expect("it runs");
    let line = server.wait_for_stderr("SIGTERM: lame duck", TIMEOUT);
    assert!(line.expect("it logs").contains(", at most 22 s"));

    for path in ["/readyz", "/"] {
        let mut late = Conn::open(server.addr()).expect("it listens");
        late.get(path).expect("an open connection");
        let response = late.read_response().expect("an answer");
        assert_eq!(response.head.status, 200, "{path}");
    }

    assert_eq!(slow.read_response().expect("an answer").body, b"hello\n");
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
}

/// Killed in the middle of a drain, it could report nothing.
#[test]
fn a_budget_that_the_kubelet_would_cut_short_is_refused_at_start() {
    let started = Server::start(example("kubernetes"), &[("GRACE_SECONDS", "25")]);
    let error = started.expect_err("it is refused").to_string();
    assert!(
        error.contains("lame duck 5 s + grace 25 s + abort grace 1 s = 31 s, more than 30 s"),
        "{error}"
    );
}
