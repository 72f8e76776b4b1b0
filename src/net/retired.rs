//! The retirement of a listener whose accept loop is not ours.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::{
    accept::{Group, Queue},
    incoming::ACCEPTED_FIRST,
    os,
    retire::{self, AsSocket, BorrowedSocket, Retirement, Stop, Stopped},
};

/// How long draining is thought to last at least: nothing tells. A member of a group waits for its
/// turn for half of it.
const DRAINING: Duration = Duration::from_secs(2);

/// Retires a listener whose accept loop is your own, e.g. on another runtime, without losing a
/// connection.
///
/// Call it when draining begins, and accept until [`Retired::is_empty`] is true. It takes the
/// listener, or a reference to it, of std or any other runtime, in a [`Group`] if it is a member of
/// one. [`Drain::accept`](crate::Drain::accept) does all of this by itself.
///
/// ```
/// use async_drain::{Drain, net::retire};
/// # use std::{net::{TcpListener, TcpStream}, thread, time::Duration};
/// # fn serve(_: TcpStream) {}
///
/// # fn main() -> std::io::Result<()> {
/// let drain = Drain::new();
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let _peer = TcpStream::connect(listener.local_addr()?)?;
/// // ... accept connections, with a guard for each and one for the loop. When draining begins:
/// # let hold = drain.guard();
/// # drain.begin();
/// let mut retired = retire(listener);
/// while !retired.is_empty() {
///     if retired.has_queued() {
///         let (connection, _) = retired.get_ref().accept()?;
///         serve(connection);
///     } else {
///         thread::sleep(Duration::from_millis(1)); // one may be on its way
///     }
/// }
/// drop(retired); // closes the listener: new peers are refused
/// # drop(hold);
/// # Ok(()) }
/// ```
///
/// An accept that is under way when draining begins belongs to the loop. If dropping it can lose a
/// connection, as with `io_uring`, cancel it first, and serve the connection that it may return all
/// the same.
///
/// A listener that was passed on by `LISTEN_FDS` is left alone, as is its queue. The queue of a
/// Unix listener is emptied; a peer that connects between the last look and the close is reset.
#[must_use = "dropping the value at once lets the listener queue connections again"]
pub fn retire<L: Retire>(listener: L) -> Retired<L> {
    let socket = listener.socket();
    let address = SockRef::from(&socket).local_addr().ok();
    let retirement = if retire::is_passed_on(&socket) {
        Retirement::Stopped(Stopped::new(Queue::Shared))
    } else {
        Retirement::default()
    };
    let mut retired = Retired {
        address: address.and_then(|address| address.as_socket()),
        first: ACCEPTED_FIRST,
        deadline: Instant::now() + DRAINING,
        retirement,
        substitute: None,
        listener,
    };
    retired.advance();
    retired
}

/// A listener that [`retire`] has retired.
///
/// Dropping it undoes the retirement, for other holders of the socket, and drops the listener.
/// A member of a [`Group`] gets no new connections even so, until another member joins: close it.
#[must_use = "dropping it lets the listener queue connections again"]
pub struct Retired<L: Retire> {
    // Closed before the substitute, and before a sibling that waits for its turn may retire.
    listener: L,
    substitute: Option<os::Substitute>,
    retirement: Retirement,
    /// `None` for a Unix listener.
    address: Option<SocketAddr>,
    /// How many more connections may be accepted before the listener stops queueing.
    first: usize,
    /// When draining is thought to end, at the earliest.
    deadline: Instant,
}

/// A listener, of any runtime.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be retired",
    label = "not a listener",
    note = "use a TCP or Unix listener that implements `AsFd` (`AsSocket` on Windows), a reference to one, or a `Group` of one"
)]
pub trait Retire {
    /// Set if the listener is a member of a group.
    const SIBLINGS: bool;

    /// Returns its socket.
    fn socket(&self) -> BorrowedSocket<'_>;
}

impl<L: AsSocket> Retire for L {
    const SIBLINGS: bool = false;

    fn socket(&self) -> BorrowedSocket<'_> {
        retire::borrow(self)
    }
}

impl<L: AsSocket> Retire for Group<L> {
    const SIBLINGS: bool = true;

    fn socket(&self) -> BorrowedSocket<'_> {
        retire::borrow(&self.0)
    }
}

impl<L: Retire> Retired<L> {
    /// Returns the listener.
    pub fn get_ref(&self) -> &L {
        &self.listener
    }

    /// Returns whether a connection is queued, so that accepting it doesn't wait.
    pub fn has_queued(&self) -> bool {
        retire::has_queued(self.listener.socket())
    }

    /// Returns whether the listener can be closed without losing a connection: none is queued, and
    /// no handshake is under way.
    ///
    /// Ask before each accept, and every few milliseconds if no connection is queued. Where the
    /// system can't stop the queueing, it is true after half a second at the latest; a handshake is
    /// waited for as long. A member of a [`Group`] waits a second longer if a sibling is retiring.
    pub fn is_empty(&mut self) -> bool {
        let queued = self.has_queued();
        if let Retirement::Asked(_) = self.retirement {
            self.first = self.first.saturating_sub(1);
            if queued && self.first > 0 {
                return false;
            }
        }
        let queue = self.advance();
        let Retirement::Stopped(stopped) = &self.retirement else {
            return false;
        };
        let over = stopped.is_over();
        match queue {
            Queue::Shared => true,
            Queue::Open if over => true,
            // Look for handshakes before the queue, which they join.
            _ => {
                !queued && (over || !retire::may_grow(self.address, stopped)) && !self.has_queued()
            }
        }
    }

    fn advance(&mut self) -> Queue {
        let socket = self.listener.socket();
        let address = self.address;
        self.retirement.advance(
            Some(self.deadline),
            || retire::has_queued(socket),
            || retire::is_full(address),
            |how| {
                if address.is_none() {
                    Stop::Done(Stopped::new(Queue::Open))
                } else if L::SIBLINGS {
                    retire::member(socket, address, how)
                } else {
                    Stop::Done(retire::tcp(socket))
                }
            },
        )
    }
}

impl<L: Retire> Drop for Retired<L> {
    fn drop(&mut self) {
        let mut stopped = self.retirement.take();
        if let (Some(stopped), Some(_)) = (&mut stopped, self.address) {
            self.substitute = retire::restore_tcp(self.listener.socket(), stopped, true);
        }
        // Until the listener is closed, no sibling may retire.
        self.retirement = stopped.map_or(Retirement::NotAsked, Retirement::Stopped);
    }
}

impl<L: Retire> fmt::Debug for Retired<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retired")
            .field("address", &self.address)
            .field("retirement", &self.retirement)
            .finish_non_exhaustive()
    }
}
