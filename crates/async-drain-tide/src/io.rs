use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use async_drain::{
    Guard, Phase,
    futures::UntilAborting,
    net::{Linger, Transport, idle::ConnectionGuard},
};
use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};
use http_types::{Body, Request, headers::EXPECT};

use crate::ahead::Ahead;

/// A connection in the form that async-h1 requires, which can be cloned, and a record of what it is
/// doing.
///
/// The clones share the guard, so that the drain waits for an upgraded connection, for which only a
/// clone remains (Z6).
pub(crate) struct Io<C: Transport>(Arc<Mutex<State<C>>>);

struct State<C: Transport> {
    /// Closed before the guard is dropped (Z5). `None` once the driver has taken it.
    conn: Option<Linger<C>>,
    guard: Option<ConnectionGuard>,
    /// The phase from which on answers tell the peer to leave: draining, if it has connected in
    /// lame duck.
    leaves_at: Phase,
    ahead: Ahead,
    /// The number of requests whose head has been read.
    requests: usize,
    /// Set once bytes of the current request have arrived.
    begun: bool,
    interim: Interim,
    /// Set by the answer that offers an upgrade.
    upgrade: Option<Upgrade>,
    /// Set while the endpoint, or a task of its own, has the body of the current request.
    body_held: bool,
    /// Woken when the body is dropped, or has been read to its end.
    driver: Option<Waker>,
    /// The task that waits for bytes; woken when the driver takes the connection.
    reader: Option<Waker>,
    /// Set once the driver has ended and left an upgraded connection to its task.
    is_handed_over: bool,
}

/// What became of the `100 Continue` that the current request asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Interim {
    NotWanted,
    Wanted,
    /// This many bytes of it have been written.
    Written(usize),
    /// The final answer had begun before it was written.
    TooLate,
}

/// Ends an upgraded connection when aborting begins. Two tasks may use the connection, and aborting
/// wakes both.
struct Upgrade {
    reading: UntilAborting,
    writing: UntilAborting,
}

impl<C: Transport> Io<C> {
    pub(crate) fn new(mut conn: Linger<C>, guard: Guard, leaves_at: Phase) -> Self {
        let guard = ConnectionGuard::new(guard).with_connection(&mut conn);
        Self(Arc::new(Mutex::new(State {
            conn: Some(conn),
            guard: Some(guard.abandoned_if_dropped()),
            leaves_at,
            ahead: Ahead::default(),
            requests: 0,
            begun: false,
            interim: Interim::NotWanted,
            upgrade: None,
            body_held: false,
            driver: None,
            reader: None,
            is_handed_over: false,
        })))
    }

    /// Begins the next request.
    pub(crate) fn begin_head(&self) {
        let mut state = self.state();
        state.ahead.begin_head();
        state.begun = !state.ahead.is_empty();
        state.interim = Interim::NotWanted;
    }

    /// Records that a head has been read.
    pub(crate) fn request(&self, request: &Request) {
        let mut state = self.state();
        state.requests += 1;
        state.ahead.begin_body(request.len().map(|len| len as u64));
        if request.header(EXPECT).is_some() {
            state.interim = Interim::Wanted;
        }
        if let Some(guard) = &state.guard {
            guard.label(|| format!("{} {}", request.method(), request.url().path()).into());
        }
    }

    /// Marks the connection idle if nothing of a request has arrived. Returns whether it is idle.
    pub(crate) fn rest(&self) -> bool {
        let mut state = self.state();
        let idle = !state.begun;
        if let (true, Some(guard)) = (idle, &mut state.guard) {
            guard.rest();
        }
        idle
    }

    /// Returns whether a head has begun and is not complete.
    pub(crate) fn is_in_head(&self) -> bool {
        let state = self.state();
        state.begun && state.ahead.is_in_head()
    }

    /// Returns whether the head can't be read, because a header value is not ASCII.
    pub(crate) fn is_head_refused(&self) -> bool {
        self.state().ahead.is_beyond_ascii()
    }

    /// Returns whether no request has ever been read.
    pub(crate) fn is_silent(&self) -> bool {
        self.state().requests == 0
    }

    /// Returns whether peers are told to leave (Z3).
    pub(crate) fn is_leaving(&self) -> bool {
        let state = self.state();
        let guard = state.guard.as_ref();
        guard.is_none_or(|guard| guard.phase() >= state.leaves_at)
    }

    /// Returns whether the peer may never send the rest of its request's body, because it waits for
    /// a `100 Continue` that was not written.
    pub(crate) fn may_withhold_body(&self) -> bool {
        let state = self.state();
        let unwritten = matches!(state.interim, Interim::Wanted | Interim::TooLate);
        unwritten && !state.ahead.is_over()
    }

    /// Records that the answer offers an upgrade. From now on reads and writes fail once aborting
    /// has begun: the task that takes the connection may start before the driver has ended.
    pub(crate) fn offer_upgrade(&self) {
        let mut state = self.state();
        state.ahead.begin_upgrade();
        state.upgrade = state.guard.as_ref().map(|guard| Upgrade {
            reading: guard.guard().until_aborting(),
            writing: guard.guard().until_aborting(),
        });
    }

    /// Returns a clone for the task that takes the upgraded connection. It ends when that task
    /// drops it.
    pub(crate) fn hand_over(&self) -> Self {
        let mut state = self.state();
        state.is_handed_over = true;
        if let Some(guard) = &mut state.guard {
            guard.finished();
        }
        self.clone()
    }

    /// Waits until draining begins.
    pub(crate) async fn until_draining(&self) {
        let draining = (self.state().guard.as_ref()).map(|guard| guard.guard().until_draining());
        if let Some(draining) = draining {
            draining.await;
        }
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.state().is_handed_over
    }

    /// Takes the connection from all clones, to be closed, and its guard, to be dropped after that.
    pub(crate) fn take(&self) -> (Option<Linger<C>>, Option<ConnectionGuard>) {
        let mut state = self.state();
        let taken = (state.conn.take(), state.guard.take());
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        taken
    }

    /// Ready once no task reads the body of the current request, with whether bytes of it are left.
    ///
    /// A task that still reads after the answer keeps the connection in flight, until it has all of
    /// the body or drops it.
    pub(crate) fn poll_body(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.state();
        if state.ahead.is_over() {
            return Poll::Ready(false);
        }
        if !state.body_held {
            return Poll::Ready(true);
        }
        let last = state.driver.replace(cx.waker().clone());
        drop(state);
        drop(last);
        Poll::Pending
    }
}

impl<C: Transport> Io<C> {
    fn state(&self) -> MutexGuard<'_, State<C>> {
        // Only a transport can panic under this lock, and a connection whose transport has panicked
        // fails by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Transport> State<C> {
    /// Returns the connection for reading, unless it has been closed or cancelled.
    fn reader(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut Linger<C>>> {
        if let Some(Upgrade { reading, .. }) = &mut self.upgrade {
            cancelled(reading, cx)?;
        }
        self.conn()
    }

    /// Returns the connection for writing, unless it has been closed or cancelled.
    fn writer(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut Linger<C>>> {
        if let Some(Upgrade { writing, .. }) = &mut self.upgrade {
            cancelled(writing, cx)?;
        }
        self.conn()
    }

    fn conn(&mut self) -> io::Result<Pin<&mut Linger<C>>> {
        let conn = self.conn.as_mut().map(Pin::new);
        conn.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Records that bytes of a request are handed out. Returns the task to wake if the last one is.
    /// Fails if async-h1 must not get them.
    fn received(&mut self) -> io::Result<Option<Waker>> {
        self.begun = true;
        if let Some(guard) = &mut self.guard {
            guard.work();
        }
        if self.ahead.is_beyond_ascii() {
            let why = "only header values in ASCII are supported";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(if self.ahead.is_over() {
            self.driver.take()
        } else {
            None
        })
    }

    /// Writes the rest of a `100 Continue`, so that the final answer doesn't begin in the middle of
    /// it.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.interim {
            Interim::Wanted => self.interim = Interim::TooLate,
            Interim::Written(mut written) => {
                while written < CONTINUE.len() {
                    let rest = &CONTINUE[written..];
                    let length = ready!(self.writer(cx)?.poll_write(cx, rest))?;
                    if length == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    written += length;
                    self.interim = Interim::Written(written);
                }
            }
            Interim::NotWanted | Interim::TooLate => {}
        }
        Poll::Ready(Ok(()))
    }
}

/// What async-h1 writes once the body of a request that expects it is read.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Wakes a task, after the lock is released.
fn wake(waiting: Option<Waker>) {
    if let Some(waiting) = waiting {
        waiting.wake();
    }
}

/// Fails once aborting has begun.
fn cancelled(aborting: &mut UntilAborting, cx: &mut Context<'_>) -> io::Result<()> {
    if Pin::new(aborting).poll(cx).is_pending() {
        return Ok(());
    }
    let why = "upgraded connection cancelled: aborting has begun";
    Err(io::Error::new(io::ErrorKind::ConnectionAborted, why))
}

impl<C: Transport> Clone for Io<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Transport> AsyncRead for Io<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        if buf.is_empty() || state.ahead.is_over() {
            return Poll::Ready(Ok(0));
        }
        let kept = state.ahead.take(buf);
        if kept > 0 {
            let driver = state.received()?;
            drop(state);
            wake(driver);
            return Poll::Ready(Ok(kept));
        }
        let Poll::Ready(read) = state.reader(cx)?.poll_read(cx, buf) else {
            let known = state.reader.as_ref();
            if !known.is_some_and(|reader| reader.will_wake(cx.waker())) {
                let last = state.reader.replace(cx.waker().clone());
                drop(state);
                drop(last);
            }
            return Poll::Pending;
        };
        let read = read?;
        if read == 0 {
            // Bytes that are still kept belong to trailers that will never be complete.
            let whole = state.ahead.is_empty();
            let end = if whole {
                Ok(0)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
            return Poll::Ready(end);
        }
        let length = state.ahead.keep(buf, read);
        // Empty lines are not a request.
        let driver = if length == 0 && state.ahead.is_empty() {
            None
        } else {
            state.received()?
        };
        drop(state);
        wake(driver);
        if length == 0 {
            // A peer that sends empty lines endlessly must not keep other tasks from running.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(length))
    }
}

impl<C: Transport> AsyncWrite for Io<C> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        ready!(state.poll_interim(cx))?;
        state.writer(cx)?.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().writer(cx)?.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().writer(cx)?.poll_close(cx)
    }
}

impl<C: Transport> fmt::Debug for Io<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Io")
            .field("requests", &state.requests)
            .field("begun", &state.begun)
            .finish_non_exhaustive()
    }
}

/// The connection of one request, as async-h1's decoder gets it. The decoder writes nothing to it
/// but a `100 Continue`.
///
/// It does so from a task of its own, which may run after the final answer has begun: a `100
/// Continue` between the bytes of that answer would corrupt it.
pub(crate) struct RequestIo<C: Transport> {
    io: Io<C>,
    /// Which request this is.
    number: usize,
}

impl<C: Transport> RequestIo<C> {
    /// Returns the connection of the request that is about to be read.
    pub(crate) fn new(io: &Io<C>) -> Self {
        let number = io.state().requests + 1;
        Self {
            io: io.clone(),
            number,
        }
    }
}

impl<C: Transport> Clone for RequestIo<C> {
    fn clone(&self) -> Self {
        Self {
            io: self.io.clone(),
            number: self.number,
        }
    }
}

impl<C: Transport> AsyncRead for RequestIo<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<C: Transport> AsyncWrite for RequestIo<C> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.io.state();
        let written = match state.interim {
            _ if state.requests != self.number => return Poll::Ready(Ok(buf.len())),
            Interim::NotWanted | Interim::TooLate => return Poll::Ready(Ok(buf.len())),
            // Finished by the final answer.
            Interim::Written(written) if written + buf.len() > CONTINUE.len() => {
                return Poll::Ready(Ok(buf.len()));
            }
            Interim::Written(written) => written,
            Interim::Wanted => 0,
        };
        let length = ready!(state.writer(cx)?.poll_write(cx, buf))?;
        state.interim = Interim::Written(written + length);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.state().writer(cx)?.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The body of a request as the endpoint gets it, which tells its connection when it is dropped.
pub(crate) struct Upload<C: Transport> {
    io: Io<C>,
    /// Which request it belongs to. A task may keep the request when the next one has begun.
    number: usize,
    body: Body,
}

impl<C: Transport + Send + 'static> Upload<C> {
    /// Wraps the body of a request that has one.
    pub(crate) fn wrap(io: &Io<C>, request: &mut Request) {
        let length = request.len();
        if length == Some(0) {
            return;
        }
        let mut state = io.state();
        state.body_held = true;
        let number = state.requests;
        drop(state);
        let body = request.take_body();
        let mime = body.mime().clone();
        let io = io.clone();
        let mut body = Body::from_reader(Self { io, number, body }, length);
        body.set_mime(mime);
        request.set_body(body);
    }
}

impl<C: Transport> AsyncRead for Upload<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.body).poll_read(cx, buf)
    }
}

impl<C: Transport> AsyncBufRead for Upload<C> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().body).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.body).consume(amount);
    }
}

impl<C: Transport> Drop for Upload<C> {
    fn drop(&mut self) {
        let mut state = self.io.state();
        if self.number == state.requests {
            state.body_held = false;
            let driver = state.driver.take();
            drop(state);
            wake(driver);
        }
    }
}
