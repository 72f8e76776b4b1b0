use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_io::Timer;

/// What to do about an accept that failed (Z10).
#[derive(Debug, PartialEq)]
pub(super) enum Failure {
    /// Of one connection, or of one call: the next may succeed at once.
    OfOne,
    /// Something has run out; it may come back.
    Exhausted,
    /// Of the listener: it will never accept again.
    OfListener,
}

impl Failure {
    pub(super) fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
            | Kind::TimedOut
            | Kind::PermissionDenied => Self::OfOne,
            // EINVAL: it does not listen any more.
            Kind::InvalidInput => Self::OfListener,
            _ => match error.raw_os_error() {
                #[cfg(any(unix, windows))]
                Some(code) if closed(code) => Self::OfListener,
                // ENFILE, EMFILE, ENOBUFS, ENOMEM, what the network reports through accept(2), and whatever a stream
                // of connections may say: nothing ends the server.
                _ => Self::Exhausted,
            },
        }
    }
}

#[cfg(any(unix, windows))]
fn closed(code: i32) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_raw_os_error(code);
    errno == Errno::BADF || errno == Errno::NOTSOCK || errno == Errno::OPNOTSUPP
}

/// The waits between accepts that fail: from 10 ms on, doubled up to a second, as Go's net/http does from 5 ms on.
#[derive(Debug)]
pub(super) struct Backoff {
    wait: Duration,
    most: Duration,
    timer: Option<Timer>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            wait: Duration::ZERO,
            most: Self::MOST,
            timer: None,
        }
    }
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(10);
    const MOST: Duration = Duration::from_secs(1);
    /// Where there is half a second left.
    const MOST_IN_A_HURRY: Duration = Duration::from_millis(150);

    /// Ends the present wait, and makes later ones short.
    pub(super) fn hurry(&mut self) {
        self.most = Self::MOST_IN_A_HURRY;
        self.timer = None;
    }

    pub(super) fn start(&mut self) {
        self.wait = (self.wait * 2).clamp(Self::FIRST, self.most);
        self.timer = Some(Timer::after(self.wait));
    }

    pub(super) fn reset(&mut self) {
        self.wait = Duration::ZERO;
    }

    /// Ready when the wait is over, or if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.timer {
            if Pin::new(timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
        Poll::Ready(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rustix::io::Errno;

    /// Z10: nothing ends the accept loop but the end of the listener itself.
    #[test]
    fn only_the_end_of_the_listener_is_one() {
        let of = |errno: Errno| Failure::of(&errno.into());
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PERM] {
            assert_eq!(of(errno), Failure::OfOne, "{errno}");
        }
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::NETDOWN,
        ] {
            assert_eq!(of(errno), Failure::Exhausted, "{errno}");
        }
        for errno in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK] {
            assert_eq!(of(errno), Failure::OfListener, "{errno}");
        }
        let of_a_stream = io::Error::other("no more for now");
        assert_eq!(Failure::of(&of_a_stream), Failure::Exhausted);
    }
}
