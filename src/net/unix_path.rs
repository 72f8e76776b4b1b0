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

/// How many times to try to lock a directory: others hold the lock for microseconds.
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
    // For the drop. Sockets are named by `path`, which may be short enough where this is too long.
    let absolute = std::path::absolute(path)?;
    // From here on, no other process that binds by this function sees a socket that is bound and
    // does not listen yet, or removes one that is not the one it has looked at.
    let locked = lock_directory(&absolute, TRIES)?;
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if locked.is_none() || !is_stale(path) {
                return Err(error);
            }
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let bound = BoundPath {
        file: file(path)?,
        path: absolute,
    };
    Ok((listener, bound))
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

#[cfg(test)]
mod tests {
    use std::{env, fs, process::Command};

    use super::bind;

    /// The kernel takes 107 bytes, of a relative path as well.
    #[test]
    fn a_relative_path_in_a_deep_directory_is_bound_and_removed() {
        const NAME: &str =
            "net::unix_path::tests::a_relative_path_in_a_deep_directory_is_bound_and_removed";
        if env::current_dir().unwrap().as_os_str().len() > 150 {
            for _ in 0..2 {
                let (listener, path) = bind("socket".as_ref()).unwrap();
                drop(listener);
                // The second time, it is replaced.
                std::mem::forget(path);
            }
            drop(bind("socket".as_ref()).unwrap());
            assert!(!fs::exists("socket").unwrap());
            return;
        }
        // In a process of its own, which is somewhere else.
        let top = env::temp_dir().join(format!("unix_path.{}", std::process::id()));
        let deep = top.join("d".repeat(150));
        fs::create_dir_all(&deep).unwrap();
        let mut child = Command::new(env::current_exe().unwrap());
        let output = child.args(["--exact", NAME]).current_dir(&deep).output();
        fs::remove_dir_all(&top).unwrap();
        let output = output.unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && printed.contains("1 passed"),
            "{printed}"
        );
    }
}
