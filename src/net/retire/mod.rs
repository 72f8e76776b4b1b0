//! Tells the kernel to queue nobody new on a listener, so that the queue can be emptied and the
//! listener closed without a connection in it (Z1).
//!
//! Linux does it for good. The BSDs and Apple's systems let one peer slip in at a time. Windows
//! does not: there the queue is emptied, and who connects in the moment between the last look at it
//! and the close is reset.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;

#[cfg(unix)]
use std::os::fd::AsFd as AsSocket;
#[cfg(windows)]
use std::os::windows::io::AsSocket;
use std::{io, net::TcpListener};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use elsewhere as system;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
pub(super) use system::handshakes_under_way;
#[cfg(unix)]
pub(super) use system::unix;

use super::accept::Queue;

/// Stops the queueing on a TCP listener. New peers get no answer until it is closed, and are
/// refused then.
pub(super) fn tcp(listener: &TcpListener) -> Queue {
    let socket = SockRef::from(listener);
    match system::drop_syns(&socket) {
        Ok(()) => Queue::Closed,
        Err(_) => {
            // If that is not to be had either, the bounded emptying of the queue is what is left.
            let _ = shorten(&socket);
            Queue::Open
        }
    }
}

/// Makes a TCP listener that [`tcp`] has retired queue newcomers again, for those who may hold it
/// too.
pub(super) fn restore_tcp(listener: &TcpListener, retired: Queue) {
    /// More than any kernel's limit, which caps it; how long the queue was is not to be had.
    const LONGEST: i32 = 4096;
    let socket = SockRef::from(listener);
    let _ = match retired {
        Queue::Closed => system::take_syns(&socket),
        Queue::Open | Queue::Shared => socket.listen(LONGEST),
    };
}

/// Whether a connection is queued on `listener`.
pub(super) fn has_queued(listener: &impl AsSocket) -> bool {
    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut asked = [PollFd::new(listener, PollFlags::IN)];
    // If it can't be asked, closing can wait.
    !matches!(poll(&mut asked, Some(&NOW)), Ok(0))
}

/// Whether `LISTEN_FDS` and `LISTEN_PID` name the descriptor of `listener`: a supervisor holds it
/// too.
#[cfg(unix)]
pub(super) fn is_passed_on(listener: &impl AsSocket) -> bool {
    use std::os::fd::AsRawFd;

    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let fd = listener.as_fd().as_raw_fd();
    number("LISTEN_PID") == Some(std::process::id())
        && number("LISTEN_FDS").is_some_and(|fds| are_named(fds, fd))
}

/// `sd_listen_fds(3)`: they are numbered from 3 on.
#[cfg(unix)]
fn are_named(fds: u32, fd: i32) -> bool {
    fd.checked_sub(3)
        .and_then(|index| u32::try_from(index).ok())
        .is_some_and(|index| index < fds)
}

#[cfg(windows)]
pub(super) fn is_passed_on(_: &impl AsSocket) -> bool {
    false
}

/// Makes the queue as short as it can be: the kernel drops most newcomers, if not all, since one
/// may still slip in.
fn shorten(socket: &SockRef<'_>) -> io::Result<()> {
    // Apple's kernel takes zero, and all below it, for the longest.
    socket.listen(i32::from(cfg!(target_vendor = "apple")))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use socket2::SockRef;

    /// Z1: descriptors are known to be shared by their numbers, which begin at 3.
    #[cfg(unix)]
    #[test]
    fn the_first_descriptors_after_the_standard_ones_are_passed_on() {
        let named: Vec<_> = (-1..8).filter(|&fd| super::are_named(2, fd)).collect();
        assert_eq!(named, [3, 4]);
        assert!(!super::are_named(0, 3));
    }

    /// Z1: where nothing better is to be had, those who are queued are not lost.
    #[test]
    fn a_shorter_queue_keeps_those_in_it() {
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
