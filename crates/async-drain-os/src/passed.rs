//! `LISTEN_FDS`: the descriptors that a supervisor has passed to this process
//! (`sd_listen_fds(3)`).

use std::{
    env::{self, VarError},
    io,
    ops::Range,
    os::fd::RawFd,
};

/// The first descriptor after the standard ones.
const FIRST: RawFd = 3;

/// Returns the descriptors that `LISTEN_FDS` names; none if `LISTEN_PID` isn't set or names another
/// process.
///
/// # Errors
///
/// If a variable isn't a number. The message names the variable.
pub fn descriptors() -> io::Result<Range<RawFd>> {
    let (pid, fds) = (variable("LISTEN_PID")?, variable("LISTEN_FDS")?);
    named(pid.as_deref(), fds.as_deref(), std::process::id())
}

fn variable(name: &str) -> io::Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(invalid(format!("{name} is not valid unicode"))),
    }
}

fn named(pid: Option<&str>, fds: Option<&str>, own: u32) -> io::Result<Range<RawFd>> {
    let (Some(pid), Some(fds)) = (pid, fds) else {
        return Ok(FIRST..FIRST);
    };
    let Ok(pid) = pid.parse::<u32>() else {
        return Err(invalid(format!("LISTEN_PID is '{pid}', and not a process")));
    };
    if pid != own {
        return Ok(FIRST..FIRST);
    }
    let count = fds.parse::<RawFd>().ok().filter(|&count| count >= 0);
    match count.and_then(|count| FIRST.checked_add(count)) {
        Some(end) => Ok(FIRST..end),
        None => Err(invalid(format!(
            "LISTEN_FDS is '{fds}', and not a number of descriptors"
        ))),
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub use take::take;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod take {
    use std::{
        io,
        ops::Range,
        os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd},
        sync::{Mutex, PoisonError},
    };

    use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};

    use super::{descriptors, invalid};

    /// Takes the descriptors that `LISTEN_FDS` names, in order, and sees to it that child processes
    /// don't inherit them. Their numbers stay as they are. Only the first call that succeeds gets
    /// them.
    ///
    /// # Errors
    ///
    /// As [`descriptors`], or if one of them isn't open, or if they have been taken before. None is
    /// taken then.
    pub fn take() -> io::Result<Vec<OwnedFd>> {
        // No two calls look at a descriptor at the same time.
        static TAKING: Mutex<()> = Mutex::new(());
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        claim(descriptors()?)
    }

    fn claim(fds: Range<RawFd>) -> io::Result<Vec<OwnedFd>> {
        let mut claimed = Vec::new();
        for fd in fds {
            // SAFETY: `LISTEN_FDS` and `LISTEN_PID` say that whatever started this program gave the
            // descriptor to it. It belongs to this value if it is open and nothing else in this
            // process owns it, which is looked at next: unless that is so, the value is dissolved
            // again and closes nothing.
            let owned = unsafe { OwnedFd::from_raw_fd(fd) };
            let problem = match fcntl_getfd(&owned) {
                // A descriptor that came through `exec` doesn't have the flag. Those that were
                // opened since have it, by std and all that it opens, and so have those that were
                // taken, by this function and by others like it.
                Ok(flags) if flags.contains(FdFlags::CLOEXEC) => Some(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    format!(
                        "descriptor {fd} of LISTEN_FDS was not passed on, or has been taken already"
                    ),
                )),
                Ok(_) => None,
                Err(Errno::BADF) => Some(invalid(format!(
                    "descriptor {fd} of LISTEN_FDS is not open"
                ))),
                Err(error) => Some(error.into()),
            };
            claimed.push(owned);
            if let Some(problem) = problem {
                claimed.into_iter().for_each(dissolve);
                return Err(problem);
            }
        }
        for fd in &claimed {
            // Any descriptor that is open has this flag.
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
        Ok(claimed)
    }

    /// Gives up the ownership of a descriptor without closing it.
    fn dissolve(fd: OwnedFd) {
        let _ = fd.into_raw_fd();
    }

    #[cfg(test)]
    mod tests {
        use std::{
            io::ErrorKind,
            net::TcpListener,
            os::fd::{AsFd, AsRawFd, IntoRawFd},
        };

        use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

        use super::claim;

        /// Makes a descriptor like one that came through `exec`, with this number or a later one.
        fn inherited(number: i32) -> i32 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let passed = fcntl_dupfd_cloexec(&listener, number).unwrap();
            fcntl_setfd(&passed, FdFlags::empty()).unwrap();
            passed.into_raw_fd()
        }

        #[test]
        fn a_descriptor_is_taken_once() {
            let fd = inherited(400);
            let taken = claim(fd..fd + 1).unwrap();
            assert_eq!(taken[0].as_raw_fd(), fd);
            assert!(
                super::fcntl_getfd(&taken[0])
                    .unwrap()
                    .contains(FdFlags::CLOEXEC)
            );
            let error = claim(fd..fd + 1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            // The second call didn't close it.
            assert!(super::fcntl_getfd(taken[0].as_fd()).is_ok());
        }

        #[test]
        fn if_one_descriptor_is_not_open_the_others_stay_as_they_are() {
            let fd = inherited(500);
            let error = claim(fd..fd + 2).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("is not open"), "{error}");
            assert_eq!(claim(fd..fd + 1).unwrap().len(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn the_first_descriptors_after_the_standard_ones_are_named() {
        assert_eq!(named(Some("7"), Some("2"), 7).unwrap(), 3..5);
        assert!(named(Some("7"), Some("0"), 7).unwrap().is_empty());
    }

    #[test]
    fn descriptors_of_another_process_are_not_named() {
        for (pid, fds) in [
            (None, None),
            (None, Some("2")),
            (Some("7"), None),
            (Some("8"), Some("2")),
            // That is for the other process to complain about.
            (Some("8"), Some("two")),
        ] {
            assert!(named(pid, fds, 7).unwrap().is_empty(), "{pid:?} {fds:?}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_an_error_that_names_the_variable() {
        for fds in ["two", "", "-1", "2.5", "2147483647", "99999999999999"] {
            let error = named(Some("7"), Some(fds), 7).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("LISTEN_FDS is '{fds}'")),
                "{error}"
            );
        }
        let error = named(Some("self"), Some("2"), 7).unwrap_err().to_string();
        assert!(error.starts_with("LISTEN_PID is 'self'"), "{error}");
    }
}
