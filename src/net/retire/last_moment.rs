//! A listener that a peer connects to in its last moment, when it has been restored for other
//! holders and is not yet closed.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use async_io::Async;
use socket2::{Domain, Socket, Type};

use super::{How, Stop, Stopped, has_queued};
use crate::net::{
    accept::{Accept, Queue},
    listening::{Holders, Listener, Listening},
    os, retire,
};

/// Connects to itself before it closes.
struct Reached {
    listener: TcpListener,
    peer: Arc<Socket>,
}

impl Reached {
    fn new() -> (Self, Arc<Socket>) {
        let peer = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        peer.set_nonblocking(true).unwrap();
        let peer = Arc::new(peer);
        let reached = Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            peer: Arc::clone(&peer),
        };
        (reached, peer)
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        let address = self.listener.local_addr().unwrap();
        let error = self.peer.connect(&address.into()).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::INPROGRESS.raw_os_error())
        );
        assert!(!has_queued(&self.listener), "it would be reset");
    }
}

impl AsFd for Reached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Listener for Reached {
    type Conn = <TcpListener as Listener>::Conn;

    fn accept(&self) -> io::Result<(Self::Conn, Option<SocketAddr>)> {
        Listener::accept(&self.listener)
    }

    fn stop(&self, holders: Holders, how: How) -> Stop {
        self.listener.stop(holders, how)
    }

    fn restore(&self, stopped: &Stopped, closing: bool) -> Option<os::Substitute> {
        self.listener.restore(stopped, closing)
    }

    fn may_grow(&self, stopped: &Stopped) -> bool {
        self.listener.may_grow(stopped)
    }

    fn has_queued(&self) -> bool {
        has_queued(&self.listener)
    }

    fn is_full(&self) -> bool {
        false
    }

    fn is_passed_on(&self) -> bool {
        false
    }
}

/// Z1: of a listener that is accepted from here.
#[test]
fn a_peer_of_an_accept_loop_is_not_reset() {
    let (listener, peer) = Reached::new();
    let mut listening = Listening::new(Arc::new(Async::new(listener).unwrap()));
    assert_eq!(listening.retire(), Queue::Closed);
    drop(listening);
    assert!(peer.peer_addr().is_err());
    assert!(peer.take_error().unwrap().is_none());
}

/// Z1: of a listener whose accept loop is the program's own.
#[test]
fn a_peer_of_a_retired_listener_is_not_reset() {
    let (listener, peer) = Reached::new();
    drop(retire(listener));
    assert!(peer.peer_addr().is_err());
    assert!(peer.take_error().unwrap().is_none());
}
