//! Systems other than Linux and Android. A listener's queue can only be made shorter, and
//! connection requests that are under way are not visible. No call tells what a peer has
//! acknowledged: a close ends when the peer closes too, or at the stall limit.

#[cfg(unix)]
use std::os::fd::BorrowedFd as BorrowedSocket;
#[cfg(windows)]
use std::os::windows::io::BorrowedSocket;
use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;

pub(in crate::net) use super::no_group::{Steering, Substitute, join, steer};
#[cfg(unix)]
use crate::net::{accept::Queue, retire};

/// Waits for acknowledgements, where the system tells of them.
#[derive(Debug, Default)]
pub(in crate::net) struct AckWatch;

impl AckWatch {
    #[expect(clippy::unused_self, reason = "on Linux there is an event")]
    pub(in crate::net) fn poll(&mut self, _: BorrowedSocket<'_>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    #[expect(clippy::unused_self, reason = "on Linux there is an event")]
    pub(in crate::net) fn is_set(&self) -> bool {
        false
    }
}

pub(super) fn unacknowledged(_: BorrowedSocket<'_>) -> Option<usize> {
    None
}

pub(in crate::net) fn drop_syns(_: &SockRef<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(in crate::net) fn take_syns(_: &SockRef<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes the queue of a Unix listener as short as possible. A shutdown of the socket would not
/// prevent new connections here, and would make `accept` fail.
#[cfg(unix)]
pub(in crate::net) fn shut_down_unix(listener: &std::os::unix::net::UnixListener) -> Queue {
    let _ = retire::shorten(&SockRef::from(listener));
    Queue::Open
}

pub(in crate::net) fn connection_requests_under_way(
    _: SocketAddr,
    _: Duration,
    _: Duration,
) -> bool {
    false
}

pub(in crate::net) fn connection_requests_are_hidden() -> bool {
    false
}

/// Never exists: these systems give sockets no number of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Identity {}

pub(in crate::net) fn identity(_: BorrowedSocket<'_>) -> Option<Identity> {
    None
}

pub(in crate::net) fn is_queue_full(_: SocketAddr) -> bool {
    false
}
