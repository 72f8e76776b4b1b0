//! Waits until the peer of a closing TCP socket has acknowledged everything.
//!
//! Linux has no readiness event for acknowledgements: a socket that is closed for writing counts as
//! writable all the time, and no poller is woken when bytes leave its buffer. (Of 40
//! acknowledgements after a FIN, an edge-triggered epoll reports one, the last.) The last
//! acknowledgement, that of our FIN, changes the state of the socket, and this wakes every poller.
//! An edge-triggered epoll reports each such wake as an event. The reactor's own epoll asks for
//! readiness, and would report "writable" without end. So a second epoll watches the socket, and
//! the reactor waits until the descriptor of that epoll is readable.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    task::{Context, Poll, ready},
};

use async_io::Async;
use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, EventData, EventFlags},
};

/// The second epoll, which watches a closing socket.
#[derive(Debug, Default)]
pub(in crate::net) enum AckWatch {
    /// Not polled yet.
    #[default]
    Unset,
    Set(Async<OwnedFd>),
    /// The epoll could not be made, e.g. because file descriptors have run out.
    Failed,
}

impl AckWatch {
    /// Ready if the state of `socket`, which must be the same one in every call, may have changed
    /// since the last call.
    ///
    /// Look at the socket before this call: a change after the look makes the descriptor readable.
    pub(in crate::net) fn poll(
        &mut self,
        socket: BorrowedFd<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if let Self::Unset = self {
            *self = watch(socket).map_or(Self::Failed, Self::Set);
        }
        if let Self::Set(epoll) = self {
            if ready!(epoll.poll_readable(cx)).is_ok() {
                let mut events = [EVENT];
                let _ = epoll::wait(epoll, &mut events[..], Some(&NOW));
                return Poll::Ready(());
            }
            *self = Self::Failed;
        }
        Poll::Pending
    }

    /// Returns whether [`poll`](Self::poll) will report the last acknowledgement.
    pub(in crate::net) fn is_set(&self) -> bool {
        matches!(self, Self::Set(_))
    }
}

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
const EVENT: epoll::Event = epoll::Event {
    flags: EventFlags::empty(),
    data: EventData::new_u64(0),
};

/// Returns how many bytes of a TCP socket are not acknowledged; zero if the kernel can't tell.
///
/// After a reset the kernel keeps the count, and for a Unix socket it counts unread bytes: the
/// caller checks that the socket is connected, and TCP.
#[expect(clippy::unnecessary_wraps, reason = "other systems can't tell")]
pub(in crate::net::os) fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    Some(async_drain_os::unacknowledged(socket).unwrap_or(0))
}

fn watch(socket: BorrowedFd<'_>) -> std::io::Result<Async<OwnedFd>> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let events = EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(&epoll, socket, EventData::new_u64(0), events)?;
    Async::new_nonblocking(epoll)
}
