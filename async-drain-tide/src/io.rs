use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use async_drain::{
    Guard, Phase, UntilAborting,
    net::{ConnectionGuard, Linger, Transport},
};
use futures_io::{AsyncRead, AsyncWrite};
use http_types::Request;

use crate::ahead::Ahead;

/// A connection as async-h1 wants it, to be cloned at will; watched for what it is doing.
///
/// The clones share the guard, so that an upgraded connection, whose clone is all that is left, is waited for (Z6).
pub(crate) struct Io<C>(Arc<Mutex<State<C>>>);

struct State<C> {
    /// Closed before the guard goes (Z5). `None` once the driver has taken it.
    conn: Option<Linger<C>>,
    standby: Option<ConnectionGuard>,
    ahead: Ahead,
    /// Requests whose head has been read.
    requests: usize,
    /// Bytes have come since the last answer.
    begun: bool,
    /// From the answer that offers one.
    upgrade: Option<Upgrade>,
}

/// Cuts a connection that nobody drives any more. Two tasks may use it, and each is to be woken.
struct Upgrade {
    reading: UntilAborting,
    writing: UntilAborting,
}

impl<C: Transport> Io<C> {
    pub(crate) fn new(conn: Linger<C>, guard: Guard) -> Self {
        Self(Arc::new(Mutex::new(State {
            conn: Some(conn),
            standby: Some(ConnectionGuard::new(guard)),
            ahead: Ahead::default(),
            requests: 0,
            begun: false,
            upgrade: None,
        })))
    }

    /// The next request may come.
    pub(crate) fn begin_head(&self) {
        let mut state = self.state();
        state.ahead.begin_head();
        state.begun = !state.ahead.is_empty();
        state.upgrade = None;
    }

    /// A head has been read.
    pub(crate) fn request(&self, request: &Request) {
        let mut state = self.state();
        state.requests += 1;
        state.ahead.begin_body(request.len().map(|len| len as u64));
        if let Some(standby) = &state.standby {
            standby.label(|| format!("{} {}", request.method(), request.url().path()).into());
        }
    }

    /// Lets the guard rest if nothing of a request has come; returns whether that is so.
    pub(crate) fn rest(&self) -> bool {
        let mut state = self.state();
        let idle = !state.begun;
        if let (true, Some(standby)) = (idle, &mut state.standby) {
            standby.rest();
        }
        idle
    }

    /// Whether no request has ever been read.
    pub(crate) fn is_silent(&self) -> bool {
        self.state().requests == 0
    }

    /// Whether peers are told to leave (Z3).
    pub(crate) fn is_leaving(&self) -> bool {
        let state = self.state();
        state
            .standby
            .as_ref()
            .is_none_or(|standby| standby.phase() >= Phase::LameDuck)
    }

    /// The answer offers an upgrade. From now on aborting cuts whoever uses the connection: the one who takes it may begin
    /// before the driver knows that it has ended.
    pub(crate) fn offer_upgrade(&self) {
        let mut state = self.state();
        state.ahead.begin_upgrade();
        state.upgrade = state.standby.as_ref().map(|standby| Upgrade {
            reading: standby.guard().until_aborting(),
            writing: standby.guard().until_aborting(),
        });
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.state().upgrade.is_some()
    }

    /// Takes the connection from all clones, to be closed, and its guard, to be dropped after that.
    pub(crate) fn take(&self) -> (Option<Linger<C>>, Option<ConnectionGuard>) {
        let mut state = self.state();
        (state.conn.take(), state.standby.take())
    }
}

impl<C> Io<C> {
    fn state(&self) -> MutexGuard<'_, State<C>> {
        // What panics under this lock is a transport; a connection whose transport has panicked fails by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Transport> State<C> {
    /// The connection for reading, unless it has been closed or cut.
    fn reader(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut Linger<C>>> {
        if let Some(Upgrade { reading, .. }) = &mut self.upgrade {
            cut(reading, cx)?;
        }
        self.conn()
    }

    /// The same for writing.
    fn writer(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut Linger<C>>> {
        if let Some(Upgrade { writing, .. }) = &mut self.upgrade {
            cut(writing, cx)?;
        }
        self.conn()
    }

    fn conn(&mut self) -> io::Result<Pin<&mut Linger<C>>> {
        let conn = self.conn.as_mut().map(Pin::new);
        conn.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn received(&mut self) {
        self.begun = true;
        if let Some(standby) = &mut self.standby {
            standby.work();
        }
    }
}

/// An error once aborting has begun.
fn cut(aborting: &mut UntilAborting, cx: &mut Context<'_>) -> io::Result<()> {
    if Pin::new(aborting).poll(cx).is_pending() {
        return Ok(());
    }
    let why = "cut: aborting has begun";
    Err(io::Error::new(io::ErrorKind::ConnectionAborted, why))
}

impl<C> Clone for Io<C> {
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
        if !state.ahead.is_empty() {
            state.received();
            return Poll::Ready(Ok(state.ahead.take(buf)));
        }
        let read = ready!(state.reader(cx)?.poll_read(cx, buf))?;
        if read > 0 {
            state.received();
        }
        Poll::Ready(Ok(state.ahead.keep(&buf[..read])))
    }
}

impl<C: Transport> AsyncWrite for Io<C> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.state().writer(cx)?.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().writer(cx)?.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state().writer(cx)?.poll_close(cx)
    }
}

impl<C> fmt::Debug for Io<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Io")
            .field("requests", &state.requests)
            .field("begun", &state.begun)
            .finish_non_exhaustive()
    }
}
