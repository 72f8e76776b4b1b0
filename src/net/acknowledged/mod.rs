//! What has the peer acknowledged? Linux alone can tell.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;

#[cfg(unix)]
use std::os::fd::BorrowedFd as BorrowedSocket;
#[cfg(windows)]
use std::os::windows::io::BorrowedSocket;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use elsewhere as system;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;
use socket2::SockRef;
pub(super) use system::Watch;

use super::transport::Transport;

/// How many bytes that were written to `conn` its peer has not acknowledged, the end of the stream
/// included; `None` if nothing tells.
///
/// Nothing is outstanding with a peer that has gone, and on what isn't TCP: there, what was written
/// is delivered in any case.
pub(super) fn unacknowledged(conn: &impl Transport) -> Option<usize> {
    match conn
        .socket()
        .map(|socket| (system::unacknowledged(socket), socket))
    {
        None | Some((Some(0), _)) => Some(0),
        Some((bytes, socket)) if is_connected_tcp(socket) => bytes,
        Some(_) => Some(0),
    }
}

/// After a reset the kernel goes on counting, but a socket without a connection has no peer.
fn is_connected_tcp(socket: BorrowedSocket<'_>) -> bool {
    SockRef::from(&socket)
        .peer_addr()
        .is_ok_and(|peer| peer.as_socket().is_some())
}
