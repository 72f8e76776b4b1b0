//! Tells which listeners a supervisor has passed to this process, and holds too.

#[cfg(all(feature = "systemd", target_os = "linux"))]
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::os::{self, Identity};

/// What this process has taken of `LISTEN_FDS` by this crate. A number may be another descriptor's
/// by now.
static TAKEN: Mutex<Vec<Identity>> = Mutex::new(Vec::new());

fn taken() -> MutexGuard<'static, Vec<Identity>> {
    // Nothing under this lock panics.
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what has been taken of `LISTEN_FDS`.
#[cfg(all(feature = "systemd", target_os = "linux"))]
pub(crate) fn note(fds: &[OwnedFd]) {
    taken().extend(fds.iter().filter_map(|fd| os::identity(fd.as_fd())));
}

/// Returns whether a supervisor holds `listener` too: it was taken of `LISTEN_FDS`. If this crate
/// has taken nothing, whether `LISTEN_FDS` and `LISTEN_PID` name its descriptor.
pub(super) fn is_passed_on(listener: &impl AsFd) -> bool {
    let listener = listener.as_fd();
    let taken = taken();
    if taken.is_empty() {
        let passed = async_drain_os::passed::descriptors();
        return passed.is_ok_and(|passed| passed.contains(&listener.as_raw_fd()));
    }
    os::identity(listener).is_some_and(|listener| taken.contains(&listener))
}

#[cfg(test)]
#[cfg(all(feature = "systemd", target_os = "linux"))]
mod tests {
    use std::{
        env,
        net::TcpListener,
        os::fd::{AsRawFd, OwnedFd},
        process::{Command, Stdio},
    };

    use crate::{
        net::{Accept, IntoAccept, Queue},
        systemd,
    };

    fn tcp() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    /// Z1: a listener of the program's own that has got the number of a passed one is its own, and
    /// a duplicate of a passed one is not.
    #[test]
    fn a_listener_with_the_number_of_a_passed_one_is_not_shared() {
        const NAME: &str =
            "net::passed::tests::a_listener_with_the_number_of_a_passed_one_is_not_shared";
        if env::var_os("LISTEN_FDS").is_some() {
            let mut listeners = systemd::listeners().unwrap();
            let passed = listeners.tcp_named("http").unwrap().unwrap();
            assert_eq!(passed.0.as_raw_fd(), 3);
            drop(listeners);
            let own = tcp();
            assert_eq!(own.as_raw_fd(), 4);
            let duplicate = passed.0.try_clone().unwrap();
            assert_eq!(own.into_accept().unwrap().retire(), Queue::Closed);
            assert_eq!(duplicate.into_accept().unwrap().retire(), Queue::Shared);
            return;
        }
        let passed = [tcp(), tcp()].map(OwnedFd::from);
        let [http, admin] = passed;
        let command = format!(
            "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=http:admin
            exec 3<&0 4<&1 1>&2; exec \"$0\" --exact {NAME} --test-threads 1"
        );
        let child = Command::new("sh")
            .args(["-c", &command])
            .arg(env::current_exe().unwrap())
            .stdin(http)
            .stdout(admin)
            .stderr(Stdio::piped())
            .spawn();
        let output = child.unwrap().wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
    }
}
