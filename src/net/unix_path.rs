//! The path of a Unix listener: replaced if nobody listens on it, and removed with the listener.

use std::{
    fs::{self, File},
    io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use socket2::{Domain, SockAddr, Socket, Type};

/// How often a directory is tried to be locked, since others hold the lock for microseconds.
const TRIES: u32 = 100;

/// A path that a listener of this process has bound. The drop removes it, if it still leads there.
#[derive(Debug)]
pub(super) struct BoundPath {
    path: PathBuf,
    /// Device and inode of the socket's file.
    file: (u64, u64),
}

/// Binds `path`, in place of a socket on which nobody listens.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, BoundPath)> {
    let path = std::path::absolute(path)?;
    // From here on, no other process that binds by this function sees a socket that is bound and
    // does not listen yet, or removes one that is not the one it has looked at.
    let locked = lock_directory(&path, TRIES)?;
    let listener = match UnixListener::bind(&path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if locked.is_none() || !is_stale(&path) {
                return Err(error);
            }
            fs::remove_file(&path)?;
            UnixListener::bind(&path)?
        }
        bound => bound?,
    };
    let file = file(&path)?;
    Ok((listener, BoundPath { path, file }))
}

/// Returns whether `path` is a socket on which nobody listens.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = || {
        let peer = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // The queue of a listener may be full.
        peer.set_nonblocking(true)?;
        peer.connect(&SockAddr::unix(path)?)
    };
    is_socket && refused().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Locks the directory of `path`, until the value is dropped. `None` if it can't be locked.
fn lock_directory(path: &Path, tries: u32) -> io::Result<Option<File>> {
    let Some(Ok(directory)) = path.parent().map(File::open) else {
        return Ok(None);
    };
    for again in (0..tries).rev() {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(directory)),
            Err(Errno::WOULDBLOCK) if again > 0 => thread::sleep(Duration::from_millis(10)),
            Err(Errno::WOULDBLOCK) => break,
            Err(_) => return Ok(None),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::WouldBlock,
        "another process has locked the directory of the socket",
    ))
}

fn file(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        // If another process has the lock, it stays: the next one to bind the path replaces it.
        let Ok(Some(_locked)) = lock_directory(&self.path, 1) else {
            return;
        };
        if file(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
