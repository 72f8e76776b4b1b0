//! A listener whose queue is full: the kernel drops the last segment of a handshake, whose peer
//! counts itself as connected.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, SockRef, Socket, Type};

use super::EMPTYING;
use crate::net::{os, retire};

/// The kernel takes one more. It answers more handshakes than this by cookies, and doesn't list
/// those.
const BACKLOG: i32 = 4;

/// Makes a listener whose queue has a place for one more connection, and the peers of the others.
fn listener() -> (TcpListener, SocketAddr, [TcpStream; BACKLOG as usize]) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&address.into()).unwrap();
    socket.listen(BACKLOG).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let queued = [(); BACKLOG as usize].map(|()| TcpStream::connect(address).unwrap());
    (listener, address, queued)
}

/// Connects two peers, and drops the last segment of their handshakes as a full queue does.
fn handshakes(listener: &TcpListener, address: SocketAddr) -> [TcpStream; 2] {
    let socket = SockRef::from(listener);
    os::take_only_syns(&socket).unwrap();
    let peers = [(); 2].map(|()| {
        let peer = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
        peer.set_nodelay(true).unwrap();
        peer
    });
    socket.detach_filter().unwrap();
    peers
}

/// Z1: a peer that has connected while the queue was full is waited for when the listener retires,
/// although its handshake is older than one that is waited for otherwise.
#[test]
fn a_peer_that_found_the_queue_full_is_accepted() {
    let (listener, address, queued) = listener();
    let mut peers = handshakes(&listener, address);
    // It takes the last place.
    peers[0].write_all(b"a request").unwrap();
    let begun = Instant::now();
    while os::connection_requests_under_way(address, Duration::ZERO, EMPTYING) {
        assert!(begun.elapsed() < Duration::from_secs(5));
        thread::sleep(Duration::from_millis(1));
    }
    let mut retired = retire(listener);
    for _ in 0..=queued.len() {
        retired.get_ref().accept().unwrap();
    }
    assert!(!retired.is_empty(), "the other peer would be reset");
    peers[1].write_all(b"a request").unwrap();
    assert!(retired.has_queued());
    let (_other, address) = retired.get_ref().accept().unwrap();
    assert_eq!(address, peers[1].local_addr().unwrap());
    let begun = Instant::now();
    while !retired.is_empty() {
        assert!(begun.elapsed() < Duration::from_millis(400), "it waits");
    }
}
