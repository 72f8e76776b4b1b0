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
    os::{AckWatch, unacknowledged},
    transport::Transport,
};
use crate::{guard::Record, time};

/// How long a close waits for acknowledgements if none come.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(2);

/// The first of the growing intervals at which a closing socket is looked at, where no event tells.
const FIRST_LOOK: Duration = Duration::from_millis(10);

/// A connection whose close loses nothing of what was written.
///
/// A plain close while the peer is still sending makes the kernel reset the connection, and throw
/// away what it has not delivered; and a process that ends takes a container's network with it. So
/// [`poll_close`](AsyncWrite::poll_close) closes for writing, and then reads and discards for as
/// long as something can still be lost: while bytes arrive and while the peer acknowledges what was
/// written, however slowly. If it acknowledges nothing for the [stall limit](Self::stall_limit),
/// two seconds by default, the connection is reset if bytes are missing, and closed otherwise.
/// Bytes that arrive don't extend that time: a peer that uploads for ever is not waited for. A peer
/// that has everything and keeps its socket open is not waited for either, on Linux and Android;
/// elsewhere nothing tells what a peer has until it closes too, and the stall limit is the longest
/// that a close takes.
///
/// On Linux the last acknowledgement is an event. No event tells of those before it: while they
/// are outstanding the kernel is asked at intervals, of a quarter of the stall limit at most.
///
/// # What is reported as abandoned
///
/// A connection of [`Incoming`](super::Incoming) that is reset so, or that is dropped with bytes
/// that its peer has not acknowledged, once the shutdown is under way. (A plain guard that is alive
/// when aborting begins is abandoned in any case.) Where something else reports what became of the
/// connection, it takes [`delivery`](Self::delivery).
///
/// It can be read and written by reference too, by one reader and one writer at a time.
pub struct Linger<C: Transport> {
    conn: C,
    close: Close,
    stall_limit: Duration,
    /// The socket resets when it is dropped, since what was written has no end.
    resets: bool,
    /// Whether the end of the stream was written. Relaxed: to miss it means one byte more.
    ended: AtomicBool,
    delivery: Arc<Delivery>,
    /// Where a loss is reported; none for a connection of unknown origin.
    record: Option<Record>,
    /// Cleared when somebody else reports losses.
    reports: bool,
    // After the connection.
    descriptor: Descriptor,
}

enum Close {
    Open,
    Lingering(Lingering),
    Done,
}

struct Lingering {
    watch: AckWatch,
    /// The connection was idle, and all was acknowledged before we closed: that is all there is to
    /// wait for.
    was_over: bool,
    /// How many bytes were unacknowledged when the socket was last looked at, if that can be told.
    left: Option<usize>,
    /// When the peer will have acknowledged nothing for the stall limit.
    stalled: Option<Instant>,
    /// The next look where no event makes us look, and how long we wait for it.
    look: Option<Timer>,
    interval: Duration,
    /// The peer was sending when we closed, and may go on.
    arriving: bool,
    /// The peer has closed too: nothing can arrive.
    ended: bool,
}

impl<C: Transport> Linger<C> {
    /// Wraps `conn`.
    pub fn new(conn: C) -> Self {
        Self {
            conn,
            close: Close::Open,
            stall_limit: STALL_LIMIT,
            resets: false,
            ended: AtomicBool::new(false),
            delivery: Arc::default(),
            record: None,
            reports: true,
            descriptor: Descriptor::default(),
        }
    }

    /// Wraps a connection that was accepted; losses go to `record`.
    pub(super) fn accepted(conn: C, record: Record, descriptor: Descriptor) -> Self {
        let mut linger = Self::new(conn);
        linger.record = Some(record);
        linger.descriptor = descriptor;
        linger
    }

    /// Sets how long a close waits for acknowledgements if none come; two seconds by default.
    #[must_use]
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = limit;
        self
    }

    /// Returns what is known of the bytes that were written. The caller reports from now on what
    /// was lost.
    pub fn delivery(&mut self) -> Arc<Delivery> {
        self.reports = false;
        Arc::clone(&self.delivery)
    }

    /// Returns the connection.
    pub fn get_ref(&self) -> &C {
        &self.conn
    }

    /// Returns the address that the peer has connected to, where it has one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let socket = self.conn.socket()?;
        SockRef::from(&socket).local_addr().ok()?.as_socket()
    }

    /// Tells the socket what a drop means from now on, before anything is written that changes it: a
    /// process that is killed has no time to.
    #[inline]
    fn heed_unended(&mut self) {
        let unended = self.delivery.is_unended();
        if self.resets != unended {
            self.resets = unended;
            self.reset_on_drop(unended);
        }
    }

    fn reset_on_drop(&self, reset: bool) {
        if let Some(socket) = self.conn.socket() {
            // It fails only on a socket that is gone already, and has no effect where TCP is not spoken.
            let _ = SockRef::from(&socket).set_linger(reset.then_some(Duration::ZERO));
        }
    }

    /// Closes the connection for reading or writing, and goes on with the other. Close it as well
    /// once both are over: that waits until the peer has everything.
    ///
    /// # Errors
    ///
    /// Those of `shutdown(2)`, and [`Unsupported`](io::ErrorKind::Unsupported) for a connection
    /// without a [socket](Transport::socket).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let socket = self.conn.socket().ok_or(io::ErrorKind::Unsupported)?;
        SockRef::from(&socket).shutdown(how)?;
        if how != Shutdown::Read {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Discards what has arrived; ready when nothing more can.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        /// Enough to empty a socket's buffer of the usual size; then others get their turn.
        const READS: usize = 16;
        let Close::Lingering(lingering) = &mut self.close else {
            return Poll::Ready(Ok(()));
        };
        let mut scratch = [0; 16 * 1024];
        for _ in 0..READS {
            match uninterrupted(|| Pin::new(&mut self.conn).poll_read(cx, &mut scratch)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => lingering.arriving = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when nothing more can be lost, or has been.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ended = match self.poll_discard(cx) {
            // The peer has gone: there is nobody to lose anything.
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        loop {
            let left = unacknowledged(&self.conn);
            let missing = self.is_missing(left);
            self.delivery.set_unacknowledged(missing);
            let Close::Lingering(lingering) = &mut self.close else {
                return Poll::Ready(());
            };
            lingering.ended |= ended;
            if left < lingering.left {
                lingering.left = left;
                lingering.stalled = time::later(Some(Instant::now()), self.stall_limit);
            }
            let owed = !lingering.ended && (lingering.arriving || self.delivery.expects_rest());
            let over = match left {
                Some(bytes) => bytes == 0 || lingering.was_over,
                None => lingering.ended || lingering.was_over,
            };
            if over && !owed {
                return Poll::Ready(());
            }
            if let (false, Some(socket)) = (over, self.conn.socket()) {
                if lingering.watch.poll(socket, cx).is_ready() {
                    continue;
                }
            }
            if lingering.poll_look(over, self.stall_limit, cx).is_pending() {
                return Poll::Pending;
            }
            if lingering.stalled.is_some_and(|at| at <= Instant::now()) {
                if missing {
                    self.reset();
                }
                return Poll::Ready(());
            }
        }
    }

    /// Whether bytes are missing at the peer, if `left` are unacknowledged.
    fn is_missing(&self, left: Option<usize>) -> bool {
        // The end of the stream counts as one.
        let end = usize::from(self.ended.load(Ordering::Relaxed));
        left.is_some_and(|bytes| bytes > end)
    }

    /// Gives the bytes up that the peer does not take.
    fn reset(&mut self) {
        self.reset_on_drop(true);
        self.lose();
    }

    fn lose(&mut self) {
        self.delivery.set_lost();
        if let (true, Some(record)) = (self.reports, &self.record) {
            record.abandon();
        }
    }
}

impl Lingering {
    /// Ready when it is time for the next look.
    fn poll_look(&mut self, over: bool, stall_limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let look = match &mut self.look {
            Some(look) => look,
            None => {
                self.interval = if self.watch.is_set() {
                    stall_limit / 4
                } else {
                    (self.interval * 2).clamp(FIRST_LOOK, FIRST_LOOK.max(stall_limit / 4))
                };
                let next = time::later(Some(Instant::now()), self.interval);
                // If the peer has everything, there is nothing to see before.
                let next = next.filter(|_| !over).into_iter().chain(self.stalled);
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
        let is_stopping = self.record.as_ref().is_some_and(Record::is_stopping);
        let over = matches!(self.close, Close::Done) || self.delivery.is_answered();
        if is_stopping && !over && self.is_missing(unacknowledged(&self.conn)) {
            self.lose();
        }
    }
}

/// Calls again what a signal has interrupted, which is not a failure of the connection.
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
        uninterrupted(|| Pin::new(&mut self.conn).poll_read(cx, buf))
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

    /// Half-closes: the peer reads the end, and what it sends can still be read. The lingering
    /// close is that of the `Linger` itself.
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
        self.heed_unended();
        uninterrupted(|| Pin::new(&mut self.conn).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.heed_unended();
        uninterrupted(|| Pin::new(&mut self.conn).poll_write_vectored(cx, bufs))
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        uninterrupted(|| Pin::new(&mut self.conn).poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Close::Open = this.close {
            this.heed_unended();
            // Looked before the end is written, which has to be acknowledged itself.
            let was_over = this.delivery.expects_nothing() && unacknowledged(&this.conn) == Some(0);
            match ready!(uninterrupted(|| this.conn.poll_half_close(cx))) {
                // The peer has gone: there is nobody to lose anything.
                Err(_) => this.close = Close::Done,
                Ok(()) => {
                    this.ended.store(true, Ordering::Relaxed);
                    this.close = Close::Lingering(Lingering {
                        watch: AckWatch::default(),
                        was_over,
                        left: unacknowledged(&this.conn),
                        stalled: time::later(Some(Instant::now()), this.stall_limit),
                        look: None,
                        interval: Duration::ZERO,
                        arriving: false,
                        ended: false,
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

    use super::Linger;
    use crate::net::Expected;

    /// Z8, L2: an idle connection whose peer has acknowledged all is closed at once, though the
    /// peer does not react; where the peer may be sending, its kernel is waited for.
    #[test]
    fn an_idle_connection_is_closed_without_waiting() {
        for (expected, at_once) in [(Expected::Nothing, true), (Expected::Unknown, false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut ours, _) = listener.accept().unwrap();
            // From the second round on a kernel delays its acknowledgements, and the bytes it sends
            // carry them.
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
}
