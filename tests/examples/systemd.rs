use std::{
    net::TcpListener,
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use testkit::client::Conn;

use crate::{TIMEOUT, example};

/// Receives messages until one contains this.
fn hears(systemd: &UnixDatagram, text: &str) {
    loop {
        let mut message = [0; 4096];
        let len = systemd.recv(&mut message).expect("a message in time");
        if String::from_utf8_lossy(&message[..len]).contains(text) {
            return;
        }
    }
}

/// The service, which is killed if the test fails.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // Fails only if the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a user copies does what the guide says: it takes the socket that it is given, and says when
/// it is ready and when it stops.
#[test]
fn a_service_serves_on_the_socket_of_systemd_and_tells_of_its_stop() {
    let name = format!("async-drain.example.{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let systemd = UnixDatagram::bind_addr(&address).expect("a name of our own");
    systemd.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a listener");

    // A shell becomes the service, with the listener as its descriptor 3.
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" 3<&0 0</dev/null";
    let service = Command::new("sh")
        .args(["-c", script])
        .arg(example("systemd"))
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .spawn()
        .expect("a shell");
    let mut service = Service(service);
    hears(&systemd, "READY=1");
    let mut conn = Conn::open(addr).expect("the socket of systemd");
    conn.get("/").expect("an open connection");
    let answer = conn.read_response().expect("an answer");
    assert_eq!(answer.body, b"hello\n");
    drop(conn);
    kill_process(Pid::from_child(&service.0), Signal::TERM).expect("it runs");
    hears(&systemd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=");
    assert!(service.0.wait().expect("it ends").success());
}
