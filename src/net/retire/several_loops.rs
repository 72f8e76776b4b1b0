//! Several accept loops of one process on one socket.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use async_io::Async;

use crate::net::{Accept, IntoAccept, Queue, retire, testing::wait_until_refused};

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Connects, unless SYNs are dropped.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, Duration::from_millis(300))
}

fn error(address: SocketAddr) -> io::ErrorKind {
    connect(address).unwrap_err().kind()
}

/// Z1: of two accept loops that retire, the first to end leaves the other one its filter, without
/// which handshakes would begin that the close of the other resets. The last one removes it.
#[test]
fn a_retired_loop_leaves_the_filter_to_another() {
    let (listener, address) = listener();
    let successor = listener.try_clone().unwrap();
    let listener = Arc::new(Async::new(listener).unwrap());
    let mut loops = [(); 2].map(|()| Arc::clone(&listener).into_accept().unwrap());
    drop(listener);
    for accept in &mut loops {
        assert_eq!(accept.retire(), Queue::Closed);
    }
    let [first, second] = loops;
    drop(first);
    assert_eq!(error(address), io::ErrorKind::TimedOut);
    drop(second);
    connect(address).unwrap();
    drop(successor);
    wait_until_refused(address);
}

/// Z1: an accept loop that has not retired gets new peers when the other has.
#[test]
fn a_retired_loop_leaves_the_queue_to_another() {
    let (listener, address) = listener();
    let listener = Arc::new(Async::new(listener).unwrap());
    let mut first = Arc::clone(&listener).into_accept().unwrap();
    let _second = listener.into_accept().unwrap();
    assert_eq!(first.retire(), Queue::Closed);
    drop(first);
    connect(address).unwrap();
}

/// Z1: the same with loops of other runtimes, each with a descriptor of its own.
#[test]
fn duplicates_of_a_listener_are_one_socket() {
    let (listener, address) = listener();
    let first = retire(listener.try_clone().unwrap());
    let second = retire(listener);
    drop(first);
    assert_eq!(error(address), io::ErrorKind::TimedOut);
    drop(second);
    wait_until_refused(address);
}
