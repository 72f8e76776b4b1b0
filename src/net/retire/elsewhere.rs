//! What is to be had without Linux: shorter queues, and no word of the handshakes that are under
//! way.

use std::{io, net::TcpListener};

use socket2::SockRef;

use crate::net::accept::Queue;

pub(super) fn drop_syns(_: &SockRef<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn take_syns(_: &SockRef<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes the queue of a Unix listener as short as it can be. To shut it down would stop nobody from
/// connecting, and make accepting fail.
#[cfg(unix)]
pub(in super::super) fn unix(listener: &std::os::unix::net::UnixListener) -> Queue {
    let _ = super::shorten(&SockRef::from(listener));
    Queue::Open
}

pub(in super::super) fn handshakes_under_way(_: &TcpListener) -> bool {
    false
}
