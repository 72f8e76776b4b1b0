//! Linux has no readiness event for that, but it has a state change: the acknowledgement of our FIN, the last thing of
//! all, wakes everyone who polls the socket. An edge-triggered epoll reports each wake as an event, where the
//! reactor's own, which asks for readiness, would say "writable" without end. So the socket is watched by an
//! epoll of its own, whose descriptor becomes readable, and that the reactor can wait for.

use std::{
    net::TcpStream,
    os::fd::{AsFd, OwnedFd},
    task::{Context, Poll},
};

use async_io::Async;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// The epoll that watches the socket, once that is needed.
#[derive(Debug, Default)]
pub(super) struct Watch(Option<Async<OwnedFd>>);

impl Watch {
    pub(super) fn poll(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        if delivered(socket) {
            return Poll::Ready(());
        }
        let epoll = match &self.0 {
            Some(epoll) => epoll,
            None => match watch(socket) {
                Ok(epoll) => self.0.insert(epoll),
                // Out of descriptors: the kernel delivers what it has, unless the peer goes on sending.
                Err(_) => return Poll::Ready(()),
            },
        };
        loop {
            // Taken first, looked second: an event that comes after the look makes the descriptor readable.
            let mut events = [EVENT];
            let _ = epoll::wait(epoll, &mut events[..], Some(&NOW));
            if delivered(socket) {
                return Poll::Ready(());
            }
            match epoll.poll_readable(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
            }
        }
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

pub(super) fn delivered(socket: &TcpStream) -> bool {
    // A socket that can't say has been reset.
    async_drain_sys::unacknowledged(socket).map_or(true, |bytes| bytes == 0)
}

fn watch(socket: &TcpStream) -> std::io::Result<Async<OwnedFd>> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let events = EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(&epoll, socket.as_fd(), EventData::new_u64(0), events)?;
    Async::new_nonblocking(epoll)
}
