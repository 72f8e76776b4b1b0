use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use async_drain::{
    Phase,
    futures::UntilAborting,
    net::{self, Transport, idle::IdleTimer},
};
use async_h1::server::{Encoder, decode};
use async_io::Timer;
use futures_io::{AsyncRead, AsyncWrite};
use http_types::{
    Error, Method, Request, Response, Result, StatusCode,
    headers::{TRANSFER_ENCODING, UPGRADE},
    upgrade::Connection,
};

use crate::{
    header,
    io::{Io, RequestIo, Upload},
};

/// The limits of a connection.
pub(crate) struct Limits {
    pub(crate) idle_timer: IdleTimer,
    pub(crate) head_timeout: Duration,
    /// The phase from which on answers tell the peer to leave.
    pub(crate) leaves_at: Phase,
}

/// Serves a connection from accept to close.
pub(crate) async fn serve<C, F, Fut>(
    connection: net::Connection<C>,
    mut limits: Limits,
    endpoint: F,
) -> Result<()>
where
    C: Transport + Send + 'static,
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Result<Response>>,
{
    let net::Connection {
        io, guard, peer, ..
    } = connection;
    let local = io.local_addr();
    let mut aborting = guard.until_aborting();
    let owner = Owner(Io::new(io, guard, limits.leaves_at));
    let io = &owner.0;
    let end = loop {
        io.begin_head();
        let exchange = pin!(exchange(io, &endpoint, (local, peer)));
        match next(io, &mut limits, &mut aborting, exchange).await {
            Next::Exchanged(Ok(Then::KeepAlive)) => {}
            Next::Exchanged(Ok(Then::Close)) | Next::TimedOut => break Ok(()),
            Next::Exchanged(Err(error)) => break Err(error),
            Next::Exchanged(Ok(Then::HandOver)) | Next::Aborted => return Ok(()),
        }
    };
    close(io, aborting).await;
    end
}

/// The driver's hold on a connection. Dropping it closes the connection, even if there are other
/// clones, e.g. in a request's body in another task, unless the connection was handed over.
struct Owner<C: Transport>(Io<C>);

impl<C: Transport> Drop for Owner<C> {
    fn drop(&mut self) {
        if !self.0.is_handed_over() {
            // The connection is closed before the guard is dropped (Z5).
            let (conn, guard) = self.0.take();
            drop(conn);
            drop(guard);
        }
    }
}

/// How the wait for a request and its answer ended.
enum Next {
    Exchanged(Result<Then>),
    /// No request came in time, or not all of its head.
    TimedOut,
    Aborted,
}

/// What follows an answer.
enum Then {
    KeepAlive,
    Close,
    /// The connection belongs to the task that asked for the upgrade.
    HandOver,
}

async fn next<C: Transport>(
    io: &Io<C>,
    limits: &mut Limits,
    aborting: &mut UntilAborting,
    mut exchange: Pin<&mut impl Future<Output = Result<Then>>>,
) -> Next {
    let mut head: Option<Timer> = None;
    poll_fn(|cx| {
        if Pin::new(&mut *aborting).poll(cx).is_ready() {
            return Poll::Ready(Next::Aborted);
        }
        // Read what has arrived before judging whether the connection is idle.
        if let Poll::Ready(end) = exchange.as_mut().poll(cx) {
            return Poll::Ready(Next::Exchanged(end));
        }
        limits.idle_timer.set_idle(io.rest());
        if limits.idle_timer.poll(io.is_silent(), cx).is_ready() {
            return Poll::Ready(Next::TimedOut);
        }
        if !io.is_in_head() {
            head = None;
            return Poll::Pending;
        }
        let head = head.get_or_insert_with(|| Timer::after(limits.head_timeout));
        Pin::new(head).poll(cx).map(|_| Next::TimedOut)
    })
    .await
}

/// Reads a request and writes its answer.
///
/// async-h1's own server would start a second reactor for its timer, and panic if descriptors have
/// run out.
async fn exchange<C, F, Fut>(
    io: &Io<C>,
    endpoint: &F,
    (local, peer): (Option<SocketAddr>, Option<SocketAddr>),
) -> Result<Then>
where
    C: Transport + Send + 'static,
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Result<Response>>,
{
    let decoded = decode(RequestIo::new(io)).await;
    // The only malformed head that is answered: to its peer, it is a valid one.
    if io.is_head_refused() {
        let mut refusal = Response::new(StatusCode::BadRequest);
        header::close(refusal.as_mut());
        write(&mut io.clone(), Encoder::new(refusal, Method::Get)).await?;
    }
    let Some((mut request, body)) = decoded? else {
        return Ok(Then::Close);
    };
    io.request(&request);
    // async-h1 ignores other codings, and would read the body as the next request.
    let codings = request.header(TRANSFER_ENCODING);
    if codings.is_some_and(|codings| codings.iter().count() > 1 || request.len().is_some()) {
        let error = "only the transfer coding `chunked` is supported";
        return Err(Error::from_str(StatusCode::NotImplemented, error));
    }
    request.set_local_addr(local);
    request.set_peer_addr(peer);
    Upload::wrap(io, &mut request);
    let method = request.method();
    let options = request.header("connection");
    let asks_upgrade = request.header(UPGRADE).is_some() && header::has(options, "upgrade");
    let mut close = header::has(options, "close");

    let mut response = endpoint(request).await?;

    let upgrade = asks_upgrade
        && response.status() == StatusCode::SwitchingProtocols
        && response.has_upgrade();
    let upgrade = if upgrade {
        io.offer_upgrade();
        Some(response.send_upgrade())
    } else {
        if header::may_close(method, response.status())
            && (io.is_leaving() || io.may_withhold_body())
        {
            header::close(response.as_mut());
        }
        close |= header::has(response.header("connection"), "close");
        None
    };

    write(&mut io.clone(), Encoder::new(response, method)).await?;
    if io.may_withhold_body() {
        return Ok(Then::Close);
    }
    if upgrade.is_none() && poll_fn(|cx| io.poll_body(cx)).await {
        close |= !discarded(io, body).await?;
    }
    if let Some(upgrade) = upgrade {
        upgrade.send(Connection::new(io.hand_over())).await;
        return Ok(Then::HandOver);
    }
    Ok(if close { Then::Close } else { Then::KeepAlive })
}

/// The most reads or writes of one connection in a row: after them other tasks run, and aborting is
/// noticed.
const BURST: usize = 16;

/// Writes an answer: its head together with the first bytes of its body, if both are ready.
async fn write<C: Transport>(io: &mut Io<C>, mut answer: Encoder) -> io::Result<()> {
    /// async-h1 needs room for the framing of a chunk, and enough data to be worth one.
    const ROOM: usize = 1024;
    let mut buf = vec![0; 8 * 1024];
    let (mut start, mut end, mut is_over) = (0, 0, false);
    poll_fn(|cx| {
        for _ in 0..BURST {
            while !is_over && buf.len() - end >= ROOM {
                match Pin::new(&mut answer).poll_read(cx, &mut buf[end..]) {
                    Poll::Ready(length) => {
                        let length = length?;
                        is_over = length == 0;
                        end += length;
                    }
                    Poll::Pending => break,
                }
            }
            if start == end {
                ready!(Pin::new(&mut *io).poll_flush(cx))?;
                return if is_over {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
            }
            let written = ready!(Pin::new(&mut *io).poll_write(cx, &buf[start..end]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            start += written;
            if start == end {
                (start, end) = (0, 0);
            }
        }
        yield_now(cx)
    })
    .await
}

/// How long a peer that has its answer may go on with its upload once draining has begun. As in the
/// close of a `Linger`, bytes that arrive don't extend it.
const STALL_LIMIT: Duration = Duration::from_secs(2);

/// Discards what the endpoint has left of a request's body, since a close would reset the peer
/// before it has read its answer (Z8). Returns whether that was all of it.
///
/// The answer has been written, so this must not hold the exit.
async fn discarded<C: Transport>(io: &Io<C>, body: impl AsyncRead + Unpin) -> io::Result<bool> {
    let mut discarding = pin!(discard(body));
    let mut limit = pin!(async {
        io.until_draining().await;
        Timer::after(STALL_LIMIT).await;
    });
    poll_fn(|cx| {
        if let Poll::Ready(end) = discarding.as_mut().poll(cx) {
            return Poll::Ready(end.map(|()| true));
        }
        limit.as_mut().poll(cx).map(|()| Ok(false))
    })
    .await
}

/// Reads and discards what is left of a request's body.
async fn discard(mut body: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut buf = [0; 1024];
    poll_fn(|cx| {
        for _ in 0..BURST {
            if ready!(Pin::new(&mut body).poll_read(cx, &mut buf))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        yield_now(cx)
    })
    .await
}

fn yield_now<T>(cx: &mut Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Closes the connection without losing what was written (Z8), unless aborting begins first (Z12).
async fn close<C: Transport>(io: &Io<C>, mut aborting: UntilAborting) {
    let (conn, guard) = io.take();
    // Variables are dropped in reverse order: the socket is closed before the guard says that
    // everything was written (Z5).
    let Some(mut guard) = guard else { return };
    let Some(mut conn) = conn else { return };
    let closed = poll_fn(|cx| {
        if Pin::new(&mut aborting).poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        // A connection that can't be closed has lost its peer.
        if Pin::new(&mut conn).poll_close(cx).is_ready() {
            return Poll::Ready(true);
        }
        // The connection is at work while bytes are unacknowledged, but not while the peer merely
        // keeps its side open.
        if guard.is_delivering() {
            guard.work();
        } else {
            guard.rest();
        }
        Poll::Pending
    })
    .await;
    if closed {
        guard.finished();
    }
}
