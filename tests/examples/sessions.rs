use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use rustix::process::Signal;
use testkit::process::Server;

use crate::{TIMEOUT, example};

fn connect(server: &Server, lines: &str) -> BufReader<TcpStream> {
    let mut conn = TcpStream::connect(server.addr()).expect("it listens");
    conn.set_read_timeout(Some(TIMEOUT))
        .expect("an open socket");
    conn.write_all(lines.as_bytes()).expect("room");
    BufReader::new(conn)
}

fn line(conn: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    conn.read_line(&mut line).expect("a line");
    line
}

fn rest(conn: &mut BufReader<TcpStream>) -> String {
    let mut text = String::new();
    conn.read_to_string(&mut text).expect("no reset");
    text
}

#[test]
fn a_connection_closes_after_its_last_answer() {
    let mut server = Server::start(example("sessions"), &[]).expect("it starts");
    let mut staying = connect(&server, "500\n1\n");
    assert_eq!(line(&mut staying), "1\n", "requests run concurrently");

    let mut leaving = connect(&server, "100\nquit\n");
    assert_eq!(rest(&mut leaving), "100\n");

    staying.get_mut().write_all(b"2\n").expect("room");
    assert_eq!(line(&mut staying), "2\n", "one `quit` ends one session");
    server.signal(Signal::TERM).expect("it runs");
    assert_eq!(rest(&mut staying), "500\n");
    drop((staying, leaving));
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
}
