//! Tells the kernel to stop queueing new peers on a listener, so that the queue can be emptied and
//! the listener closed without a connection in it (Z1).
//!
//! Linux does it completely. The BSDs and Apple's systems let one peer at a time slip in. Windows
//! can't do it: there, the queue is emptied, and a peer that connects between the last look at the
//! queue and the close is reset.

#[cfg(unix)]
use std::os::fd::AsFd as AsSocket;
#[cfg(windows)]
use std::os::windows::io::AsSocket;
use std::{io, net::TcpListener};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;

use super::{accept::Queue, os};

/// Stops a TCP listener from queueing. New peers get no answer until it is closed, and are refused
/// then.
pub(super) fn tcp(listener: &TcpListener) -> Queue {
    let socket = SockRef::from(listener);
    match os::drop_syns(&socket) {
        Ok(()) => Queue::Closed,
        Err(_) => {
            // If this fails too, the queue is emptied for a bounded time and nothing more.
            let _ = shorten(&socket);
            Queue::Open
        }
    }
}

/// Lets a TCP listener that [`tcp`] has retired queue new peers again, for other holders of its
/// socket.
pub(super) fn restore_tcp(listener: &TcpListener, retired: Queue) {
    /// More than the limit of any kernel, which caps it: no call tells how long the queue was.
    const LONGEST: i32 = 4096;
    let socket = SockRef::from(listener);
    let _ = match retired {
        Queue::Closed => os::take_syns(&socket),
        Queue::Open | Queue::Shared => socket.listen(LONGEST),
    };
}

/// Returns whether a connection is queued on `listener`; true if the system refuses to tell, since
/// the close can wait.
pub(super) fn has_queued(listener: &impl AsSocket) -> bool {
    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut asked = [PollFd::new(listener, PollFlags::IN)];
    !matches!(poll(&mut asked, Some(&NOW)), Ok(0))
}

/// Returns whether `LISTEN_FDS` and `LISTEN_PID` name the descriptor of `listener`: a supervisor
/// holds it too.
#[cfg(unix)]
pub(super) fn is_passed_on(listener: &impl AsSocket) -> bool {
    use std::os::fd::AsRawFd;

    let fd = listener.as_fd().as_raw_fd();
    async_drain_os::passed::descriptors().is_ok_and(|passed| passed.contains(&fd))
}

#[cfg(windows)]
pub(super) fn is_passed_on(_: &impl AsSocket) -> bool {
    false
}

/// Makes the queue of a listener as short as possible. The kernel drops most new peers then, but
/// one may still slip in.
pub(super) fn shorten(socket: &SockRef<'_>) -> io::Result<()> {
    // Apple's kernel takes a backlog of zero or less for its maximum.
    socket.listen(i32::from(cfg!(target_vendor = "apple")))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use socket2::SockRef;

    /// Z1: where no filter is available, connections in the queue are not lost.
    #[test]
    fn a_shorter_queue_keeps_its_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peers: Vec<_> = (0..5)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        super::shorten(&SockRef::from(&listener)).unwrap();
        for peer in &peers {
            let (_, from) = listener.accept().unwrap();
            assert_eq!(from, peer.local_addr().unwrap());
        }
        listener.set_nonblocking(true).unwrap();
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}
