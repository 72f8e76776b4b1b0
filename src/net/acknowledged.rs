//! When has the peer acknowledged everything? (Z8)
//!
//! Linux has no readiness event for that, but it has a state change: the acknowledgement of our FIN, the last thing of
//! all, wakes everyone who polls the socket. An edge-triggered epoll reports each wake as an event, where the
//! reactor's own, which asks for readiness, would say "writable" without end. So the socket is watched by an
//! epoll of its own, whose descriptor becomes readable, and that the reactor can wait for.

use std::{
    net::TcpStream,
    task::{Context, Poll},
};

/// Resolves when everything has been acknowledged.
#[derive(Debug)]
pub struct Acknowledged(imp::Watch);

impl Acknowledged {
    pub(super) fn unknown() -> Self {
        Self(imp::Watch::default())
    }

    pub(super) fn by(socket: &TcpStream) -> Self {
        Self(imp::Watch::new(socket))
    }

    /// Ready once `socket`, the one that this was made for, has nothing left that is not acknowledged.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx)
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::os::fd::{AsFd, OwnedFd};

    use async_io::Async;
    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

    use super::{Context, Poll, TcpStream};

    /// Watches until the socket's queue is empty. `None`: nothing to wait for, or no way to.
    #[derive(Debug, Default)]
    pub(super) struct Watch(Option<Watched>);

    #[derive(Debug)]
    struct Watched {
        /// A second descriptor of the socket, since the first is the connection's. It keeps the socket open no longer
        /// than the connection does, which owns this.
        socket: TcpStream,
        epoll: Option<Async<OwnedFd>>,
    }

    impl Watch {
        pub(super) fn new(socket: &TcpStream) -> Self {
            if delivered(socket) {
                return Self(None);
            }
            Self(socket.try_clone().ok().map(|socket| Watched {
                socket,
                epoll: None,
            }))
        }

        pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            let Some(watched) = &mut self.0 else {
                return Poll::Ready(());
            };
            if watched.poll(cx).is_ready() {
                self.0 = None;
                return Poll::Ready(());
            }
            Poll::Pending
        }
    }

    impl Watched {
        fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            let epoll = match &self.epoll {
                Some(epoll) => epoll,
                None => match watch(&self.socket) {
                    Ok(epoll) => self.epoll.insert(epoll),
                    // Out of descriptors: the kernel delivers what it has, unless the peer goes on sending.
                    Err(_) => return Poll::Ready(()),
                },
            };
            loop {
                // Taken first, looked second: an event that comes after the look makes the descriptor readable.
                let mut events = [EVENT];
                let _ = epoll::wait(epoll, &mut events[..], Some(&NOW));
                if delivered(&self.socket) {
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

    fn delivered(socket: &TcpStream) -> bool {
        // A socket that can't say has been reset.
        async_drain_sys::unacknowledged(socket).map_or(true, |bytes| bytes == 0)
    }

    fn watch(socket: &TcpStream) -> std::io::Result<Async<OwnedFd>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let events = EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&epoll, socket.as_fd(), EventData::new_u64(0), events)?;
        Async::new_nonblocking(epoll)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::{Context, Poll, TcpStream};

    /// Elsewhere nothing tells; the operating system delivers what it has after the close.
    #[derive(Debug, Default)]
    pub(super) struct Watch;

    impl Watch {
        pub(super) fn new(_: &TcpStream) -> Self {
            Self
        }

        pub(super) fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }
}
