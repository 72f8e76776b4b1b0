//! A close that loses nothing (Z8).

use std::{
    fmt,
    future::Future,
    io,
    net::{Shutdown, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_io::Timer;
use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use super::{
    backoff::Descriptor,
    delivery::Delivery,
    os::{self, AckWatch},
    transport::Transport,
};
use crate::drain::guard::LossRecord;

/// How long a close goes on without an acknowledgement, by default.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(2);

/// The first interval at which a closing socket is polled if no event comes. Later ones double.
const FIRST_LOOK: Duration = Duration::from_millis(10);

/// A connection whose close waits until the peer has everything that was written.
///
/// If a socket is closed while its peer is still sending, the kernel resets the connection and
/// discards the bytes that it has not delivered; and when a process ends, its container's network
/// may end with it. So [`poll_close`](AsyncWrite::poll_close) closes for writing, and then reads
/// and discards input for as long as something can still be lost: while bytes arrive, and while the
/// peer acknowledges bytes, however slowly.
///
/// If the peer acknowledges nothing for the [stall limit](Self::stall_limit), two seconds by
/// default, the close ends, with a reset if the peer lacks bytes. Bytes that arrive don't extend
/// that time, so a peer that uploads for ever doesn't delay the exit. On Linux and Android, neither
/// does a peer that has everything and keeps its socket open. On other systems only the peer's own
/// close shows that it has everything, and a close takes at most the stall limit.
///
/// A `Linger` can also be read and written by reference, by one reader and one writer at a time.
///
/// # What is reported as abandoned
///
/// Once draining or lame duck has begun, a connection of [`Incoming`](super::Incoming) is reported
/// as abandoned if its close ends with a reset, or if it is dropped while its peer lacks bytes. (A
/// plain guard that is alive when aborting begins is reported in any case.) A
/// [`ConnectionGuard`](super::idle::ConnectionGuard::with_connection) can report it instead, under
/// its own label.
pub struct Linger<C: Transport> {
    conn: C,
    close: Close,
    stall_limit: Duration,
    /// Set while a drop resets the socket, since a message is unended.
    resets_on_drop: bool,
    /// How many bytes were written, not counting those written by reference. It wraps around.
    written: usize,
    /// How many of the bytes written last belong to the protocol itself rather than to an answer.
    own: usize,
    /// Set once the end of the stream has been written. Relaxed: a reader that misses it counts one
    /// byte too many as missing.
    ended: AtomicBool,
    delivery: Arc<Delivery>,
    /// Where losses are reported; `None` unless the connection was accepted by `Incoming`.
    record: Option<LossRecord>,
    // After the connection, so that it is dropped later.
    descriptor: Descriptor,
}

enum Close {
    Open,
    Lingering(Lingering),
    Done,
}

struct Lingering {
    acks: AckWatch,
    /// Set if the connection was idle, and its peer had acknowledged everything, before our FIN:
    /// there is nothing to wait for.
    was_over: bool,
    /// How many bytes were unacknowledged at the last look at the socket; `None` if the system
    /// can't tell.
    unacknowledged: Option<usize>,
    /// When the stall limit passes, unless bytes are acknowledged before; `None` means never.
    stalled_at: Option<Instant>,
    /// Set while waiting until it is time to look at the socket without an event.
    look: Option<Timer>,
    /// How long `look` waits.
    interval: Duration,
    /// Set once bytes have arrived after our FIN: more may follow.
    arriving: bool,
    /// Set once the peer has closed too: nothing more can arrive.
    peer_ended: bool,
}

impl<C: Transport> Linger<C> {
    /// Wraps a connection.
    pub fn new(conn: C) -> Self {
        Self {
            conn,
            close: Close::Open,
            stall_limit: STALL_LIMIT,
            resets_on_drop: false,
            written: 0,
            own: 0,
            ended: AtomicBool::new(false),
            delivery: Arc::default(),
            record: None,
            descriptor: Descriptor::default(),
        }
    }

    /// Wraps an accepted connection, whose losses are reported to `record`.
    pub(super) fn accepted(conn: C, record: LossRecord, descriptor: Descriptor) -> Self {
        let mut linger = Self::new(conn);
        linger.record = Some(record);
        linger.descriptor = descriptor;
        linger
    }

    /// Sets how long a close may go on without an acknowledgement by the peer; two seconds by
    /// default.
    #[must_use]
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = limit;
        self
    }

    /// Returns a handle that tells whether written bytes have reached the peer.
    ///
    /// The caller reports losses from now on.
    pub(crate) fn delivery(&mut self) -> Arc<Delivery> {
        self.delivery.set_guarded(true);
        Arc::clone(&self.delivery)
    }

    /// Returns the wrapped connection.
    pub fn get_ref(&self) -> &C {
        &self.conn
    }

    /// Returns the address that the peer has connected to; `None` if the connection is not TCP.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let socket = self.conn.socket()?;
        SockRef::from(&socket).local_addr().ok()?.as_socket()
    }

    /// Makes a drop reset the socket while a message is unended. Called before the write that makes
    /// the difference, since a process that is killed can't do it later.
    #[inline]
    fn set_drop_action(&mut self) {
        let unended = self.delivery.is_unended();
        if self.resets_on_drop != unended {
            self.resets_on_drop = unended;
            self.set_reset_on_drop(unended);
        }
    }

    fn set_reset_on_drop(&self, reset: bool) {
        if let Some(socket) = self.conn.socket() {
            // This fails only if the socket is gone, and has no effect unless it is TCP.
            let _ = SockRef::from(&socket).set_linger(reset.then_some(Duration::ZERO));
        }
    }

    /// Closes the connection for reading or writing, and keeps the other direction.
    ///
    /// Close the connection as well once both directions have ended: that waits until the peer has
    /// everything.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`, and [`Unsupported`](io::ErrorKind::Unsupported) if the connection
    /// has no [socket](Transport::socket).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let socket = self.conn.socket().ok_or(io::ErrorKind::Unsupported)?;
        SockRef::from(&socket).shutdown(how)?;
        if how != Shutdown::Read {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Counts the bytes of a write.
    #[inline]
    fn count_written(&mut self, written: &Poll<io::Result<usize>>) {
        match *written {
            Poll::Ready(Ok(bytes)) => {
                self.written = self.written.wrapping_add(bytes);
                self.own = if self.delivery.is_own() {
                    self.own.saturating_add(bytes)
                } else {
                    0
                };
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.note_acknowledged(),
        }
    }

    /// Tells `delivery` what the peer has acknowledged, if the protocol asks for it. Called when a
    /// read or write has to wait for the peer.
    #[inline]
    fn note_acknowledged(&self) {
        if self.delivery.is_watched() {
            let missing = os::unacknowledged(&self.conn).unwrap_or(0);
            let acknowledged = self.written.wrapping_sub(missing);
            self.delivery.set_acknowledged(acknowledged, missing);
        }
    }

    /// Discards bytes that have arrived. Ready when no more can arrive.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        /// Enough to empty a socket's buffer of the usual size. After that, other tasks get a turn.
        const READS: usize = 16;
        let Close::Lingering(lingering) = &mut self.close else {
            return Poll::Ready(Ok(()));
        };
        let mut discarded = [0; 16 * 1024];
        for _ in 0..READS {
            match uninterrupted(|| Pin::new(&mut self.conn).poll_read(cx, &mut discarded)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => lingering.arriving = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when nothing more can be lost, or when bytes have been given up.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let peer_ended = match self.poll_discard(cx) {
            // The peer is gone, so nothing can be lost.
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        loop {
            let unacknowledged = os::unacknowledged(&self.conn);
            let missing = self.is_missing(unacknowledged);
            self.delivery.set_unacknowledged(missing);
            let Close::Lingering(lingering) = &mut self.close else {
                return Poll::Ready(());
            };
            lingering.peer_ended |= peer_ended;
            if unacknowledged < lingering.unacknowledged {
                lingering.unacknowledged = unacknowledged;
                lingering.stalled_at = Instant::now().checked_add(self.stall_limit);
            }
            let owed =
                !lingering.peer_ended && (lingering.arriving || self.delivery.expects_rest());
            let over = match unacknowledged {
                Some(bytes) => bytes == 0 || lingering.was_over,
                None => lingering.peer_ended || lingering.was_over,
            };
            if over && !owed {
                return Poll::Ready(());
            }
            if let (false, Some(socket)) = (over, self.conn.socket()) {
                if lingering.acks.poll(socket, cx).is_ready() {
                    continue;
                }
            }
            if lingering.poll_look(over, self.stall_limit, cx).is_pending() {
                return Poll::Pending;
            }
            if lingering.stalled_at.is_some_and(|at| at <= Instant::now()) {
                if missing {
                    self.reset();
                }
                return Poll::Ready(());
            }
        }
    }

    /// Returns whether the peer lacks bytes of an answer.
    fn is_missing(&self, unacknowledged: Option<usize>) -> bool {
        // The end of the stream counts as one byte.
        let end = usize::from(self.ended.load(Ordering::Relaxed));
        unacknowledged.is_some_and(|bytes| bytes > end.saturating_add(self.own))
    }

    /// Gives up the bytes that the peer has not acknowledged.
    fn reset(&mut self) {
        self.set_reset_on_drop(true);
        self.report_loss();
    }

    fn report_loss(&mut self) {
        self.delivery.set_lost();
        if let (false, Some(record)) = (self.delivery.is_guarded(), &self.record) {
            record.abandon();
        }
    }
}

impl Lingering {
    /// Ready when it is time to look at the socket again.
    ///
    /// The kernel reports no event for an acknowledgement unless it is the last one, so outstanding
    /// bytes are polled every quarter of the stall limit.
    fn poll_look(&mut self, over: bool, stall_limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let look = match &mut self.look {
            Some(look) => look,
            None => {
                self.interval = if self.acks.is_set() {
                    stall_limit / 4
                } else {
                    (self.interval * 2).clamp(FIRST_LOOK, FIRST_LOOK.max(stall_limit / 4))
                };
                let next = Instant::now().checked_add(self.interval);
                // If the peer has everything, a look before the stall limit tells nothing new.
                let next = next.filter(|_| !over).into_iter().chain(self.stalled_at);
                self.look
                    .insert(next.min().map_or_else(Timer::never, Timer::at))
            }
        };
        ready!(Pin::new(look).poll(cx));
        self.look = None;
        Poll::Ready(())
    }
}

impl<C: Transport> Drop for Linger<C> {
    fn drop(&mut self) {
        let is_stopping = self.record.as_ref().is_some_and(LossRecord::is_stopping);
        let over = matches!(self.close, Close::Done);
        if is_stopping && !over && self.is_missing(os::unacknowledged(&self.conn)) {
            self.report_loss();
        }
    }
}

/// Repeats a call while signals interrupt it, which is not a failure of the connection.
fn uninterrupted<T>(mut call: impl FnMut() -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
    loop {
        match call() {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl<C: Transport> AsyncRead for Linger<C> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = uninterrupted(|| Pin::new(&mut self.conn).poll_read(cx, buf));
        if read.is_pending() {
            self.note_acknowledged();
        }
        read
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        uninterrupted(|| Pin::new(&mut self.conn).poll_read_vectored(cx, bufs))
    }
}

impl<C: Transport> AsyncRead for &Linger<C>
where
    for<'a> &'a C: AsyncRead,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        uninterrupted(|| pin!(&self.conn).poll_read(cx, buf))
    }
}

impl<C: Transport> AsyncWrite for &Linger<C>
where
    for<'a> &'a C: AsyncWrite,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        uninterrupted(|| pin!(&self.conn).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        uninterrupted(|| pin!(&self.conn).poll_flush(cx))
    }

    /// Half-closes: the peer reads the end of the stream, and bytes that it sends can still be
    /// read. Only the close of the `Linger` itself lingers.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(self.shutdown(Shutdown::Write))
    }
}

impl<C: Transport> AsyncWrite for Linger<C> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.set_drop_action();
        let written = uninterrupted(|| Pin::new(&mut self.conn).poll_write(cx, buf));
        self.count_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.set_drop_action();
        let written = uninterrupted(|| Pin::new(&mut self.conn).poll_write_vectored(cx, bufs));
        self.count_written(&written);
        written
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        uninterrupted(|| Pin::new(&mut self.conn).poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Close::Open = this.close {
            this.set_drop_action();
            // Look before the end of the stream is written, since the FIN has to be acknowledged
            // too.
            let was_over =
                this.delivery.expects_nothing() && os::unacknowledged(&this.conn) == Some(0);
            match ready!(uninterrupted(|| this.conn.poll_half_close(cx))) {
                // The peer is gone, so nothing can be lost.
                Err(_) => this.close = Close::Done,
                Ok(()) => {
                    this.ended.store(true, Ordering::Relaxed);
                    this.close = Close::Lingering(Lingering {
                        acks: AckWatch::default(),
                        was_over,
                        unacknowledged: os::unacknowledged(&this.conn),
                        stalled_at: Instant::now().checked_add(this.stall_limit),
                        look: None,
                        interval: Duration::ZERO,
                        arriving: false,
                        peer_ended: false,
                    });
                }
            }
        }
        if let Close::Lingering(_) = this.close {
            ready!(this.poll_linger(cx));
            this.close = Close::Done;
            this.delivery.set_unacknowledged(false);
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: Transport + fmt::Debug> fmt::Debug for Linger<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linger")
            .field("conn", &self.conn)
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

#[cfg(all(
    test,
    feature = "hyper",
    any(target_os = "linux", target_os = "android")
))]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        pin::Pin,
        task::{Context, Waker},
    };

    use async_io::Async;
    use futures_io::AsyncWrite;

    use super::{Linger, os};
    use crate::net::Expected;

    /// Z8, L2: an idle connection whose peer has acknowledged everything is closed at once, even if
    /// the peer does not react. If the peer may be sending, the close waits for its kernel.
    #[test]
    fn an_idle_connection_is_closed_without_waiting() {
        for (expected, at_once) in [(Expected::Nothing, true), (Expected::Unknown, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut ours, _) = listener.accept().unwrap();
            // From the second round on, a kernel delays its acknowledgements and sends them with
            // bytes of its own.
            for _ in 0..2 {
                ours.write_all(b"answer").unwrap();
                theirs.read_exact(&mut [0; 6]).unwrap();
                theirs.write_all(b"request").unwrap();
                ours.read_exact(&mut [0; 7]).unwrap();
            }
            let mut linger = Linger::new(Async::new(ours).unwrap());
            linger.delivery().expect(expected);
            let mut cx = Context::from_waker(Waker::noop());
            let closed = Pin::new(&mut linger).poll_close(&mut cx);
            assert_eq!(closed.is_ready(), at_once, "{expected:?}");
        }
    }

    /// S8: bytes after the last byte of an answer belong to the protocol, and the peer doesn't lack
    /// them.
    #[test]
    fn bytes_of_the_protocol_itself_are_not_missing() {
        for (own, missing) in [(false, true), (true, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (ours, _) = listener.accept().unwrap();
            let mut linger = Linger::new(Async::new(ours).unwrap());
            let delivery = linger.delivery();
            let mut cx = Context::from_waker(Waker::noop());
            let mut write = |bytes: &[u8]| Pin::new(&mut linger).poll_write(&mut cx, bytes);
            assert!(write(b"answer").is_ready());
            theirs.read_exact(&mut [0; 6]).unwrap();
            delivery.set_own(own);
            while write(&[0; 8192]).is_ready() {}
            let left = os::unacknowledged(&linger.conn);
            assert!(left > Some(0));
            assert_eq!(linger.is_missing(left), missing);
        }
    }
}
