//! Linux has no readiness event for acknowledgements: a socket that is closed for writing counts as
//! writable all the time, and nobody is woken when bytes leave its buffer. But the last of them,
//! that of our FIN, changes the socket's state, and that wakes everything that polls it. An
//! edge-triggered epoll reports each wake as an event, where the reactor's own, which asks for
//! readiness, would report "writable" without end. So the socket is watched by an epoll of its own,
//! whose descriptor becomes readable, and that the reactor can wait for.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    task::{Context, Poll, ready},
};

use async_io::Async;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// The epoll that watches the socket, once that is needed.
#[derive(Debug, Default)]
pub(in super::super) enum Watch {
    #[default]
    Unset,
    Set(Async<OwnedFd>),
    /// Descriptors have run out.
    Failed,
}

impl Watch {
    /// Ready if the state of `socket`, always the same one, may have changed since this was polled
    /// last. Look at the socket before: a change after the look makes the descriptor readable.
    pub(in super::super) fn poll(
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

    /// Whether changes will be heard of.
    pub(in super::super) fn is_set(&self) -> bool {
        matches!(self, Self::Set(_))
    }
}

const NOW: rustix::event::Timespec = rustix::event::Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
const EVENT: epoll::Event = epoll::Event {
    flags: EventFlags::empty(),
    data: EventData::new_u64(0),
};

#[expect(clippy::unnecessary_wraps, reason = "elsewhere nothing tells")]
pub(super) fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    // A socket that can't say has been reset.
    Some(async_drain_sys::unacknowledged(socket).unwrap_or(0))
}

fn watch(socket: BorrowedFd<'_>) -> std::io::Result<Async<OwnedFd>> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let events = EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(&epoll, socket, EventData::new_u64(0), events)?;
    Async::new_nonblocking(epoll)
}
