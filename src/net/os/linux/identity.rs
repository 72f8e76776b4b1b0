//! Tells whether two descriptors lead to the same file or socket.

use std::os::fd::BorrowedFd;

/// Device and inode of an open file or socket. A later one may have the same when it is closed, for
/// sockets after four billion others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Identity(u64, u64);

/// Returns the identity of what `fd` leads to.
pub(in crate::net) fn identity(fd: BorrowedFd<'_>) -> Option<Identity> {
    let file = rustix::fs::fstat(fd).ok()?;
    Some(Identity(file.st_dev, file.st_ino))
}
