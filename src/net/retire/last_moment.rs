//! A listener that a peer connects to in its last moment, when it has been restored for other
//! holders and is not yet closed.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
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
    /// Has another accept loop end, and tells when it has, once this one has restored the listener.
    other: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl Reached {
    fn new() -> (Self, Arc<Socket>) {
        let peer = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        peer.set_nonblocking(true).unwrap();
        let peer = Arc::new(peer);
        let reached = Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            peer: Arc::clone(&peer),
            other: Mutex::default(),
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

    fn restore(&self, stopped: &mut Stopped, closing: bool) -> Option<os::Substitute> {
        let restored = self.listener.restore(stopped, closing);
        let other = self.other.lock().unwrap().take();
        if let Some((end, ended)) = other {
            end.send(()).unwrap();
            // Not if it waits for this one.
            let _ = ended.recv_timeout(Duration::from_millis(100));
        }
        restored
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

/// Z1: of a listener of two accept loops that end at the same time.
#[test]
fn a_peer_of_two_accept_loops_is_not_reset() {
    let (listener, peer) = Reached::new();
    let ((end, told), (ended, other_ended)) = (channel(), channel());
    *listener.other.lock().unwrap() = Some((end, other_ended));
    let listener = Arc::new(Async::new(listener).unwrap());
    let mut first = Listening::new(Arc::clone(&listener));
    let mut second = Listening::new(listener);
    assert_eq!(first.retire(), Queue::Closed);
    assert_eq!(second.retire(), Queue::Closed);
    let second = thread::spawn(move || {
        told.recv().unwrap();
        drop(second);
        // The other one may no longer wait.
        let _ = ended.send(());
    });
    drop(first);
    second.join().unwrap();
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
