//! What systemd passes to a service, by `LISTEN_FDS`, and what a service tells it, by
//! `NOTIFY_SOCKET`. `ci/systemd.sh` asks systemd itself.

use crate::support::client::Conn;
use crate::support::process::Server;
use crate::support::server;
use crate::support::subject::{TIMEOUT, ask, connect, drained, hello, hyper, overtaken};
use rustix::process::Signal;
use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

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
    let listener = listener();
    let theirs = listener.local_addr().expect("a listener");
    let (command, stdin) = activated(listener, "LISTEN_PID=1 LISTEN_FDS=1");
    let mut own = Server::spawn_with(stdin, command).expect("a server that listens");
    assert_ne!(own.addr(), theirs);
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

/// Binds the socket that systemd listens on; its address begins with `@`.
fn notify_socket(name: &str) -> (UnixDatagram, String) {
    let name = format!("async-drain.{name}.{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let socket = UnixDatagram::bind_addr(&address).expect("a name of our own");
    let timeout = socket.set_read_timeout(Some(TIMEOUT));
    timeout.expect("a timeout that is not zero");
    (socket, format!("@{name}"))
}

/// Receives messages until one contains this, and returns that.
fn hears(systemd: &UnixDatagram, text: &str) -> String {
    loop {
        let mut message = [0; 4096];
        let len = systemd.recv(&mut message);
        let len = len.unwrap_or_else(|error| panic!("no '{text}': {error}"));
        let message = String::from_utf8_lossy(&message[..len]);
        if message.contains(text) {
            return message.into_owned();
        }
    }
}

/// Returns the number of microseconds for which systemd is asked to wait.
fn extension(message: &str) -> Option<u64> {
    let mut lines = message.lines();
    lines.find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC=")?.parse().ok())
}

/// Begins a request, which is in flight for as long as the test wants.
fn half_an_upload(server: &Server) -> Conn {
    let mut conn = connect(server);
    let head = b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nh";
    conn.send(head).expect("an open connection");
    overtaken(server);
    conn
}

fn finish(mut conn: Conn) {
    conn.send(b"i").expect("an open connection");
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(answer.body, b"hi");
}

#[test]
fn a_stop_is_announced_with_the_time_that_it_may_take() {
    let (systemd, address) = notify_socket("stop");
    let mut server = hyper(&[("NOTIFY_SOCKET", &address), ("GRACE_MS", "60000")]);
    hears(&systemd, "READY=1");
    let busy = half_an_upload(&server);
    server.signal(Signal::TERM).expect("a live process");
    let message = hears(&systemd, "STOPPING=1");
    // The grace period, the abort grace, and a second.
    let micros = extension(&message).expect("a request to wait");
    assert!((61_000_000..=62_000_000).contains(&micros), "{message}");
    assert!(message.contains("STATUS=SIGTERM: draining, "), "{message}");
    // Time passes, and the status with it.
    let message = hears(&systemd, "STATUS=draining, 1 in flight, at most ");
    assert_eq!(extension(&message), None);
    finish(busy);
    hears(&systemd, "STATUS=all work has finished: drained");
    drained(&mut server);
}

#[test]
fn a_watched_server_says_that_it_is_alive_while_it_runs_and_while_it_drains() {
    let (systemd, address) = notify_socket("watchdog");
    let mut server = hyper(&[
        ("NOTIFY_SOCKET", &address),
        ("WATCHDOG_USEC", "200000"),
        ("GRACE_MS", "60000"),
    ]);
    let started = Instant::now();
    hears(&systemd, "READY=1");
    // Nothing changes in the server.
    for _ in 0..5 {
        assert_eq!(hears(&systemd, "WATCHDOG=1"), "WATCHDOG=1\n");
    }
    // Not more often than it must.
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(400), "{elapsed:?}");
    let busy = half_an_upload(&server);
    server.signal(Signal::TERM).expect("a live process");
    hears(&systemd, "STOPPING=1");
    for _ in 0..5 {
        hears(&systemd, "WATCHDOG=1");
    }
    finish(busy);
    drained(&mut server);
}

/// A service that is slow to start is not ready before its holds are gone.
#[test]
fn a_server_that_warms_up_is_ready_when_it_is_warm() {
    let (systemd, address) = notify_socket("warm");
    let mut server = hyper(&[("NOTIFY_SOCKET", &address), ("WARM_UP_MS", "300")]);
    let cold = hears(&systemd, "STATUS=");
    assert_eq!(cold, "STATUS=not ready: warming up\n");
    hears(&systemd, "READY=1");
    server.signal(Signal::TERM).expect("a live process");
    drained(&mut server);
}

/// systemd hears nothing while the executor is blocked, although the watchdog's thread goes on.
#[test]
fn a_server_whose_executor_is_blocked_does_not_say_that_it_is_alive() {
    const BLOCKED: Duration = Duration::from_millis(1500);
    let (systemd, address) = notify_socket("blocked");
    let env = [
        ("NOTIFY_SOCKET", address.as_str()),
        ("WATCHDOG_USEC", "100000"),
    ];
    let mut server = Server::start(server("local"), &env).expect("a server");
    for _ in 0..3 {
        hears(&systemd, "WATCHDOG=1");
    }
    let mut conn = connect(&server);
    let path = format!("/block/{}", BLOCKED.as_millis());
    conn.get(&path).expect("an open connection");
    server
        .wait_for_stderr("blocking", TIMEOUT)
        .expect("the handler has begun");
    // A call that was under way may come first.
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let silent = Instant::now();
        hears(&systemd, "WATCHDOG=1");
        if silent.elapsed() > BLOCKED / 2 {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "it goes on saying that it is alive"
        );
    }
    conn.read_response().expect("an answer");
    for _ in 0..3 {
        hears(&systemd, "WATCHDOG=1");
    }
    drop(conn);
    server.signal(Signal::TERM).expect("a live process");
    drained(&mut server);
}

#[test]
fn a_server_goes_on_without_a_supervisor_that_is_gone() {
    for address in ["/nonexistent/notify", "@nonexistent", "vsock:2:1", ""] {
        let mut server = hyper(&[("NOTIFY_SOCKET", address), ("WATCHDOG_USEC", "20000")]);
        hello(&mut connect(&server), false);
        server.signal(Signal::TERM).expect("a live process");
        drained(&mut server);
    }
}

/// A connection may arrive before the server that it starts.
#[test]
fn a_server_that_a_connection_has_started_answers_it() {
    let Ok(found) = Command::new("systemd-socket-activate")
        .arg("--version")
        .output()
    else {
        println!("SKIPPED: there is no systemd-socket-activate");
        return;
    };
    assert!(found.status.success());
    // Free, unless another program takes it at this moment.
    let addr = listener().local_addr().expect("a listener");
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", &addr.to_string(), "--fdname=http"]);
    command.arg(server("hyper"));
    let client = thread::spawn(move || {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match Conn::open(addr) {
                Ok(mut conn) => return hello(&mut conn, false),
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            thread::yield_now();
        }
    });
    let mut server = Server::spawn(command).expect("a server that listens");
    assert_eq!(server.addr(), addr);
    client.join().expect("an answer");
    server.signal(Signal::TERM).expect("a live process");
    drained(&mut server);
}
