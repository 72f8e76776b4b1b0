//! What differs between operating systems: whether a peer has acknowledged what was written, and
//! how a listener stops queueing new peers.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(not(target_os = "linux"))]
mod no_group;

#[cfg(unix)]
use std::os::fd::BorrowedFd as BorrowedSocket;
#[cfg(windows)]
use std::os::windows::io::BorrowedSocket;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use elsewhere as system;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;
#[cfg(all(fuzzing, target_os = "linux"))]
pub use linux::connection_requests::property as connection_requests_property;
#[cfg(test)]
#[cfg(target_os = "linux")]
pub(super) use linux::take_only_syns;
use socket2::SockRef;
#[cfg(unix)]
pub(super) use system::shut_down_unix;
pub(super) use system::{
    AckWatch, Identity, Steering, Substitute, connection_requests_are_hidden,
    connection_requests_under_way, drop_syns, identity, is_queue_full, join, steer, take_syns,
};

use super::transport::Transport;

/// Returns how many bytes that were written to `conn` its peer has not acknowledged, the end of the
/// stream included; `None` if the system can't tell.
///
/// Zero if the peer has gone, and for a connection that is not TCP: what was written to it is
/// delivered in any case.
pub(super) fn unacknowledged(conn: &impl Transport) -> Option<usize> {
    let Some(socket) = conn.socket() else {
        return Some(0);
    };
    match system::unacknowledged(socket) {
        Some(0) => Some(0),
        bytes if is_connected_tcp(socket) => bytes,
        _ => Some(0),
    }
}

/// Returns whether `socket` has a TCP peer. After a reset the kernel keeps its count of
/// unacknowledged bytes, but a socket without a connection has no peer.
fn is_connected_tcp(socket: BorrowedSocket<'_>) -> bool {
    SockRef::from(&socket)
        .peer_addr()
        .is_ok_and(|peer| peer.as_socket().is_some())
}
