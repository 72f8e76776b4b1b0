//! What systemd passes to a service: listeners, by `LISTEN_FDS`.

use crate::support::client::Conn;
use crate::support::process::Server;
use crate::support::server;
use crate::support::subject::{ask, connect, drained, hello};
use rustix::process::Signal;
use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

/// Has a shell become the server, with `fd` as its descriptor 3 and these variables in its
/// environment.
fn activated(fd: impl Into<OwnedFd>, variables: &str) -> (Command, Stdio) {
    let script = format!("export {variables}; exec \"$0\" 3<&0 0</dev/null");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .arg(server("hyper"))
        .env("ADDR", "127.0.0.1:0");
    (command, Stdio::from(fd.into()))
}

fn start(listener: &TcpListener) -> Server {
    let fd = listener.try_clone().expect("a descriptor");
    let (command, stdin) = activated(fd, "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http");
    Server::spawn_with(stdin, command).expect("a server that listens")
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

/// Z1: connections that are queued while one generation drains are answered by the next one.
#[test]
fn connections_queued_between_two_generations_are_answered() {
    let listener = listener();
    let mut first = start(&listener);
    assert_eq!(first.addr(), listener.local_addr().expect("a listener"));
    let mut busy = ask(&first, "/sleep/500");
    first.signal(Signal::TERM).expect("a live process");
    let answer = busy.read_response().expect("a whole answer");
    assert_eq!(answer.body, b"slept\n");
    // The first generation has left the queue alone by now, since it answers with `close`.
    assert!(answer.head.closes());
    let mut queued: Vec<Conn> = (0..10).map(|_| connect(&first)).collect();
    drained(&mut first);

    let mut second = start(&listener);
    for conn in &mut queued {
        hello(conn, false);
    }
    second.signal(Signal::TERM).expect("a live process");
    drop(queued);
    drained(&mut second);
}

/// A variable that a parent has left in the environment has no effect.
#[test]
fn listeners_of_another_process_are_not_taken() {
    let (command, stdin) = activated(listener(), "LISTEN_PID=1 LISTEN_FDS=1");
    let mut own = Server::spawn_with(stdin, command).expect("a server that listens");
    hello(&mut connect(&own), false);
    own.signal(Signal::TERM).expect("a live process");
    drained(&mut own);
}

fn refuses(fd: impl Into<OwnedFd>, variables: &str, error: &str) {
    let (command, stdin) = activated(fd, variables);
    // A server that starts in spite of it would never end.
    let mut timed = Command::new("timeout");
    timed.arg("10").arg(command.get_program());
    timed.args(command.get_args()).stdin(stdin);
    let output = timed.output().expect("a shell");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, format!("error: {error}\n"), "{variables}");
    assert_eq!(output.status.code(), Some(2), "{variables}");
}

#[test]
fn what_cannot_be_taken_is_an_error() {
    for (variables, error) in [
        (
            "LISTEN_PID=$$ LISTEN_FDS=two",
            "LISTEN_FDS is 'two', and not a number of descriptors",
        ),
        (
            "LISTEN_PID=self LISTEN_FDS=1",
            "LISTEN_PID is 'self', and not a process",
        ),
        (
            "LISTEN_PID=$$ LISTEN_FDS=100",
            "descriptor 4 of LISTEN_FDS was not passed on, or has been taken already",
        ),
        (
            "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http:admin",
            "LISTEN_FDNAMES has 2 names, but LISTEN_FDS is 1",
        ),
    ] {
        refuses(listener(), variables, error);
    }
    refuses(
        File::open("/dev/null").expect("a device"),
        "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http",
        "descriptor 3 ('http') of LISTEN_FDS is not a socket, and not a TCP listener",
    );
}
