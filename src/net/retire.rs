//! Tells the kernel to stop queueing new peers on a listener, so that the queue can be emptied and
//! the listener closed without a connection in it (Z1).
//!
//! Linux does it completely. The BSDs and Apple's systems let one peer at a time slip in. Windows
//! can't do it: there, the queue is emptied, and a peer that connects between the last look at the
//! queue and the close is reset.

mod loops;

#[cfg(unix)]
pub(super) use std::os::fd::{AsFd as AsSocket, BorrowedFd as BorrowedSocket};
#[cfg(windows)]
pub(super) use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::{
    io, mem,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
};
use socket2::SockRef;

use self::loops::StoppedLoop;
pub(super) use self::loops::one_loop_at_a_time;
#[cfg(unix)]
pub(super) use super::passed::is_passed_on;
use super::{accept::Queue, os};

/// How long a retired listener waits for connection requests that are under way: two round trips
/// over a slow network. A queue that may still grow is emptied for the same time again.
pub(super) const EMPTYING: Duration = Duration::from_millis(500);

/// How long a member of a group waits until it may retire, since another one does; half of what is
/// left of draining, if that is less. Then it retires as if it were alone.
const TURN: Duration = Duration::from_secs(3);

/// How long a segment that the kernel has already given to a member may take until the member has
/// it.
const UNDER_WAY: Duration = Duration::from_millis(1);

/// The stage of a listener's retirement.
#[derive(Debug, Default)]
pub(super) enum Retirement {
    #[default]
    NotAsked,
    /// It was asked to retire, and still queues.
    Asked(Asked),
    /// New connections go to its siblings, from this time on.
    Steered(Instant, Asked, os::Steering),
    Stopped(Stopped),
}

/// What is known of the moment in which a listener was asked to retire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Instant,
    /// Set if its queue was full.
    full: bool,
}

/// The result of asking a listener to stop queueing.
#[derive(Debug)]
pub enum Stop {
    /// A sibling is retiring.
    Later,
    /// New connections go to its siblings. It has to be asked again.
    Steered(os::Steering),
    Done(Stopped),
}

/// The way in which a listener stops queueing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A member of a group hands over to its siblings, one member after the other.
    InTurn,
    /// New peers get no answer.
    Alone,
}

/// What was done to a listener to stop it from queueing, so that it can be undone.
#[derive(Debug)]
pub struct Stopped {
    pub(super) queue: Queue,
    at: Instant,
    /// Set if new connections go to the siblings.
    steering: Option<os::Steering>,
    /// Set if the queue was full before. Peers that count themselves as connected, and have no
    /// place in it, may then have been silent for any time.
    was_full: bool,
    /// Set if the kernel doesn't tell of connection requests, so that one may always be under way.
    hidden: bool,
    /// Set if a Unix listener was shut down while nothing was queued. By poll(2), it has a
    /// connection ever after.
    pub(super) was_empty: bool,
    /// Set if something was done to the socket.
    entry: Option<StoppedLoop>,
}

impl Stopped {
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            queue,
            at: Instant::now(),
            steering: None,
            was_full: false,
            hidden: false,
            was_empty: false,
            entry: None,
        }
    }

    /// Returns whether the time for connection requests that were under way is over.
    pub(super) fn is_over(&self) -> bool {
        self.at.elapsed() >= EMPTYING
    }
}

impl Retirement {
    /// Takes the next step of the retirement, which should be over at the deadline. `queued` tells
    /// whether a connection is queued, `full` whether the queue is full, and `stop` stops the
    /// queueing in a given way.
    pub(super) fn advance(
        &mut self,
        deadline: Option<Instant>,
        queued: impl FnOnce() -> bool,
        full: impl FnOnce() -> bool,
        stop: impl FnOnce(How) -> Stop,
    ) -> Queue {
        let now = |full| Asked {
            at: Instant::now(),
            full,
        };
        let (asked, stop) = match mem::take(self) {
            // New peers get no answer while the listener retires. So accept what is queued first.
            Self::NotAsked if queued() => {
                *self = Self::Asked(now(full()));
                return Queue::NotYet;
            }
            Self::NotAsked => (now(false), stop(How::InTurn)),
            Self::Asked(asked) if asked.at.elapsed() >= turn(asked.at, deadline) => {
                (asked, stop(How::Alone))
            }
            Self::Asked(asked) => (asked, stop(How::InTurn)),
            Self::Steered(since, asked, steering) if since.elapsed() < UNDER_WAY => {
                *self = Self::Steered(since, asked, steering);
                return Queue::NotYet;
            }
            // Beside the steering, this drops nothing, unless the kernel chooses a member in
            // another way than expected.
            Self::Steered(_, asked, steering) => match stop(How::Alone) {
                Stop::Done(mut stopped) => {
                    stopped.steering = Some(steering);
                    (asked, Stop::Done(stopped))
                }
                other => (asked, other),
            },
            Self::Stopped(stopped) => (now(false), Stop::Done(stopped)),
        };
        match stop {
            Stop::Later => *self = Self::Asked(asked),
            Stop::Steered(steering) => *self = Self::Steered(Instant::now(), asked, steering),
            Stop::Done(mut stopped) => {
                stopped.was_full |= asked.full;
                let queue = stopped.queue;
                *self = Self::Stopped(stopped);
                return queue;
            }
        }
        Queue::NotYet
    }

    /// Takes what has been done to the listener, to undo it.
    pub(super) fn take(&mut self) -> Option<Stopped> {
        match mem::take(self) {
            Self::Stopped(stopped) => Some(stopped),
            Self::Steered(_, _, steering) => Some(Stopped {
                steering: Some(steering),
                ..Stopped::new(Queue::NotYet)
            }),
            Self::NotAsked | Self::Asked(_) => None,
        }
    }
}

/// Returns how long a member that was `asked` to retire waits for its turn.
fn turn(asked: Instant, deadline: Option<Instant>) -> Duration {
    let half = |deadline: Instant| deadline.saturating_duration_since(asked) / 2;
    deadline.map_or(TURN, |deadline| half(deadline).min(TURN))
}

/// Returns the socket of a listener, by a trait that is another one on Windows.
pub(super) fn borrow(listener: &impl AsSocket) -> BorrowedSocket<'_> {
    #[cfg(unix)]
    return listener.as_fd();
    #[cfg(windows)]
    return listener.as_socket();
}

/// Stops a TCP listener from queueing. New peers get no answer until it is closed, and are refused
/// then.
pub(super) fn tcp(socket: BorrowedSocket<'_>) -> Stopped {
    let (queue, stopped) = StoppedLoop::stop(socket, || {
        let socket = &SockRef::from(&socket);
        match os::drop_syns(socket) {
            Ok(()) => Queue::Closed,
            Err(_) => {
                // If this fails too, the queue is emptied for a bounded time and nothing more.
                let _ = shorten(socket);
                Queue::Open
            }
        }
    });
    Stopped {
        entry: Some(stopped),
        hidden: os::connection_requests_are_hidden(),
        ..Stopped::new(queue)
    }
}

/// Stops a member of a group: new peers go to its siblings. If it has none or the system can't do
/// it, this is the same as [`tcp`].
pub(super) fn member(socket: BorrowedSocket<'_>, address: Option<SocketAddr>, how: How) -> Stop {
    let steering = match (how, address) {
        (How::InTurn, Some(address)) => os::steer(socket, address),
        _ => Err(io::ErrorKind::Unsupported.into()),
    };
    match steering {
        Ok(None) => Stop::Later,
        Ok(Some(steering)) => Stop::Steered(steering),
        Err(_) => Stop::Done(tcp(socket)),
    }
}

/// Lets a TCP listener queue new peers again, for other holders of its socket, unless another
/// accept loop of this process has stopped it and not yet restored it. If it is `closing`, it
/// doesn't get back its share of a group's new peers, and the result, if there is one, takes those
/// that connect until the listener has closed.
#[must_use = "peers that connect before the listener has closed are reset without it"]
pub(super) fn restore_tcp(
    socket: BorrowedSocket<'_>,
    stopped: &mut Stopped,
    closing: bool,
) -> Option<os::Substitute> {
    /// More than the limit of any kernel, which caps it: no call tells how long the queue was.
    const LONGEST: i32 = 4096;
    match &stopped.steering {
        Some(steering) if closing => steering.closing(socket),
        Some(steering) => steering.undo(socket),
        None => {}
    }
    let alone = stopped.steering.is_none();
    let undo = || {
        // Without a substitute, a peer that connects before the close is reset.
        let substitute = (closing && alone).then(|| os::Substitute::of(socket).ok());
        let socket = SockRef::from(&socket);
        let _ = match stopped.queue {
            Queue::Closed => os::take_syns(&socket),
            Queue::Open => socket.listen(LONGEST),
            Queue::Shared | Queue::NotYet => Ok(()),
        };
        substitute.flatten()
    };
    stopped.entry.take()?.undo(undo).flatten()
}

/// Returns whether connection requests of a listener at `address` are under way.
pub(super) fn may_grow(address: Option<SocketAddr>, stopped: &Stopped) -> bool {
    let longest = if stopped.was_full {
        Duration::MAX
    } else {
        EMPTYING
    };
    stopped.hidden
        || address.is_some_and(|address| {
            os::connection_requests_under_way(address, stopped.at.elapsed(), longest)
        })
}

/// Returns whether the queue of a listener at `address` is full.
pub(super) fn is_full(address: Option<SocketAddr>) -> bool {
    address.is_some_and(os::is_queue_full)
}

/// Returns whether a connection is queued on `listener`; true if the system refuses to tell, since
/// the close can wait.
pub(super) fn has_queued(listener: impl AsSocket) -> bool {
    const NOW: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut asked = [PollFd::new(&listener, PollFlags::IN)];
    is_ready(|| poll(&mut asked, Some(&NOW)))
}

/// Returns whether `poll` finds something ready, or fails. A signal only interrupts it.
fn is_ready(poll: impl FnMut() -> rustix::io::Result<usize>) -> bool {
    !matches!(retry_on_intr(poll), Ok(0))
}

#[cfg(windows)]
pub(super) fn is_passed_on(_: &impl AsSocket) -> bool {
    false
}

/// Makes the queue of a listener as short as possible. The kernel drops most new peers then, but
/// one may still slip in.
pub(super) fn shorten(socket: &SockRef<'_>) -> io::Result<()> {
    // Apple's kernel takes a backlog of zero or less for its maximum.
    socket.listen(i32::from(cfg!(target_vendor = "apple")))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod full_queue;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod hidden_requests;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod last_moment;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod several_loops;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::io::Errno;
    use socket2::SockRef;

    /// Z1: a signal that comes during a look at the queue is not a connection.
    #[test]
    fn an_interrupted_look_at_the_queue_is_repeated() {
        let looks = |mut results: Vec<_>| super::is_ready(move || results.remove(0));
        assert!(!looks(vec![Err(Errno::INTR), Err(Errno::INTR), Ok(0)]));
        assert!(looks(vec![Err(Errno::INTR), Ok(1)]));
        assert!(looks(vec![Err(Errno::NOMEM)]));
    }

    /// Z1: where no filter is available, connections in the queue are not lost.
    #[test]
    fn a_shorter_queue_keeps_its_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peers: Vec<_> = (0..5)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        super::shorten(&SockRef::from(&listener)).unwrap();
        for peer in &peers {
            let (_, from) = listener.accept().unwrap();
            assert_eq!(from, peer.local_addr().unwrap());
        }
        listener.set_nonblocking(true).unwrap();
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}
