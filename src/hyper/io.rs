use std::{
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::hyper::rt::{Read, ReadBufCursor, Write};
use futures_io::{AsyncRead, AsyncWrite};

use super::{
    activity::{Activity, Unclosed},
    backlog::Backlog,
    read_buffer,
};
use crate::net::Delivery;

impl Activity {
    /// Wraps `conn` for hyper and watches it.
    pub fn io<C: AsyncRead + AsyncWrite + Unpin>(&self, conn: C) -> Io<C> {
        self.wrap(conn, Arc::default(), None)
    }

    /// Does the same for a connection on a [`Linger`](crate::net::Linger), whose `delivery` it is,
    /// and has it back if hyper drops it without closing it.
    pub(super) fn io_lingering<C>(&self, conn: C, delivery: Arc<Delivery>) -> Io<C>
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.wrap(conn, delivery, Some(|conn| Box::new(conn)))
    }

    fn wrap<C>(&self, conn: C, delivery: Arc<Delivery>, give_back: Option<GiveBack<C>>) -> Io<C> {
        self.set_socket(delivery);
        Io {
            conn: Some(conn),
            activity: self.clone(),
            closed: false,
            give_back,
            backlog: Backlog::default(),
        }
    }
}

/// Makes one type of all connections that are given back.
type GiveBack<C> = fn(C) -> Box<dyn AsyncWrite + Unpin + Send>;

/// A futures-io connection for hyper, which reports what it is doing; returned by
/// [`Activity::io`].
#[derive(Debug)]
pub struct Io<C> {
    /// Taken by the drop.
    conn: Option<C>,
    activity: Activity,
    /// Set once the connection's own close has ended.
    closed: bool,
    /// Set if the activity wants a connection that is dropped unclosed.
    give_back: Option<GiveBack<C>>,
    /// What hyper has written at an answer's end and the socket has not taken.
    backlog: Backlog,
}

impl<C> Io<C> {
    #[inline]
    fn conn(&mut self) -> Pin<&mut C>
    where
        C: Unpin,
    {
        let conn = self.conn.as_mut();
        Pin::new(conn.unwrap_or_else(|| unreachable!("only `drop` takes it")))
    }
}

impl<C> Drop for Io<C> {
    fn drop(&mut self) {
        if let (false, Some(give_back), Some(conn)) =
            (self.closed, self.give_back, self.conn.take())
        {
            let backlog = mem::take(&mut self.backlog);
            let unclosed = || Unclosed::new(give_back(conn), backlog);
            self.activity.left_unclosed(unclosed);
        }
    }
}

impl<C: AsyncWrite + Unpin> Io<C> {
    /// Closes the connection by its own close (Z8).
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            // If this fails, the peer is gone, and the close ends at once.
            let _ = ready!(self.poll_backlog(cx));
            self.activity.ends();
            let end = ready!(self.conn().poll_close(cx));
            self.closed = true;
            end?;
        }
        Poll::Ready(Ok(()))
    }

    /// Returns whether to take what the socket doesn't: it is the end of an answer, and hyper may
    /// drop the connection with it (see [`left_unclosed`](Activity::left_unclosed)).
    fn takes_all(&self) -> bool {
        self.give_back.is_some() && self.activity.takes_all()
    }

    /// Writes what was taken before.
    #[inline]
    fn poll_backlog(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.backlog.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(conn) = &mut self.conn else {
            unreachable!("only `drop` takes it")
        };
        let written = self.backlog.poll_write_to(conn, cx);
        self.activity.set_blocked(written.is_pending());
        written
    }

    /// Writes by `write`, behind what was taken before.
    #[inline]
    fn poll_write_by(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
        write: impl FnOnce(Pin<&mut C>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = match self.poll_backlog(cx) {
            Poll::Ready(Ok(())) => write(self.conn(), cx),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.activity.set_blocked(written.is_pending());
        if written.is_pending() && self.takes_all() {
            self.backlog.push(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        written
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Read for Io<C> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.activity.is_left() {
            // Nothing is expected of the peer. Close the connection here rather than leave that to
            // the reader: before hyper-util knows the version of HTTP, it drops a connection
            // without closing it.
            let _ = ready!(self.poll_end(cx));
            return Poll::Ready(Ok(()));
        }
        if self.activity.is_exhausted() {
            return Poll::Pending;
        }
        read_buffer::with(buf.remaining(), |read_buffer| {
            let read = self.conn().poll_read(cx, read_buffer);
            self.activity.set_starved(read.is_pending());
            let read = ready!(read)?;
            let bytes = &read_buffer[..read];
            self.activity.received(bytes);
            buf.put_slice(bytes);
            Poll::Ready(Ok(()))
        })
    }
}

impl<C: AsyncWrite + Unpin> Write for Io<C> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.activity.writes(buf);
        self.poll_write_by(cx, buf, |conn, cx| conn.poll_write(cx, buf))
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        let first = first.map_or(&[][..], |buf| buf);
        self.activity.writes(first);
        self.poll_write_by(cx, first, |conn, cx| conn.poll_write_vectored(cx, bufs))
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes once it has written all that it has.
        self.activity.set_takes_all(false);
        let flushed = match self.poll_backlog(cx) {
            Poll::Ready(Ok(())) => self.conn().poll_flush(cx),
            unwritten => unwritten,
        };
        self.activity.set_blocked(flushed.is_pending());
        if flushed.is_ready() {
            self.activity.set_flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::Future,
        io,
        pin::{Pin, pin},
        rc::Rc,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::{Context, Poll, Wake, Waker},
    };

    use ::hyper::{
        Request, Response,
        body::Incoming,
        rt::{Executor, Read, ReadBuf},
        server::conn::http1,
        service::service_fn,
    };
    use futures_io::{AsyncRead, AsyncWrite};
    use http_body_util::BodyExt;
    use hyper_util::server::conn::auto;

    use super::Activity;
    use crate::Drain;

    /// A socket that has received a stream up to some point, and takes whatever is written.
    #[derive(Clone)]
    struct Socket {
        stream: Rc<[u8]>,
        read: Rc<Cell<usize>>,
        received: Rc<Cell<usize>>,
    }

    impl AsyncRead for Socket {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let bytes = &self.stream[self.read.get()..self.received.get()];
            let length = bytes.len().min(buf.len());
            if length == 0 {
                return Poll::Pending;
            }
            buf[..length].copy_from_slice(&bytes[..length]);
            self.read.set(self.read.get() + length);
            Poll::Ready(Ok(length))
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Whether the connection wants to be polled again.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    async fn echo(request: Request<Incoming>) -> Result<Response<String>, ::hyper::Error> {
        let body = request.into_body().collect().await?.to_bytes();
        Ok(Response::new(String::from_utf8_lossy(&body).into_owned()))
    }

    /// Spawns nothing: no HTTP/2 here.
    #[derive(Clone)]
    struct Nowhere;

    impl<T> Executor<T> for Nowhere {
        fn execute(&self, _: T) {}
    }

    const REQUESTS: [&str; 3] = [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\na\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n",
    ];
    const EMPTY: &str = "\r\n\n";

    /// All pairs of requests, with empty lines before, between and after them.
    fn streams() -> impl Iterator<Item = (String, Vec<usize>)> {
        let pairs = REQUESTS.iter().flat_map(|a| REQUESTS.map(|b| [a, b]));
        pairs.map(|pair| {
            let (mut stream, mut ends) = (EMPTY.to_owned(), vec![0]);
            for request in pair {
                stream.push_str(request);
                ends.push(stream.len());
                stream.push_str(EMPTY);
            }
            (stream, ends)
        })
    }

    /// Z4: a connection is idle exactly if nothing but empty lines follows a complete request, in
    /// whatever segments they arrive, and wherever the last segment ends.
    #[test]
    fn a_connection_is_idle_between_two_requests_and_nowhere_else() {
        for (stream, ends) in streams() {
            let idle = |at: usize| ends.iter().any(|&end| end <= at && at <= end + EMPTY.len());
            for first in 0..stream.len() {
                for second in [first + 1, first + 2, first + 30, stream.len()] {
                    let second = second.min(stream.len());
                    for kind in 0..3 {
                        let seen = looks(kind, &stream, &[first, second]);
                        assert_eq!(
                            seen,
                            [idle(first), idle(second)],
                            "{kind}: {:?}, {:?}",
                            &stream[..first],
                            &stream[first..second],
                        );
                    }
                }
            }
        }
    }

    /// Reads until the socket has no more bytes, and returns how many there were.
    fn read(io: &mut (impl Read + Unpin)) -> usize {
        let mut buf = [0; 64];
        let mut buf = ReadBuf::new(&mut buf);
        let mut cx = Context::from_waker(Waker::noop());
        while Pin::new(&mut *io)
            .poll_read(&mut cx, buf.unfilled())
            .is_ready()
        {}
        buf.filled().len()
    }

    /// A poll of HTTP/2 asks the socket once, and the next one asks again. Nothing of HTTP/1 waits
    /// for the next poll: another task may read an upgraded connection.
    #[test]
    fn a_socket_without_bytes_is_asked_once_in_a_poll_of_http2() {
        const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for (stream, in_the_same_poll) in [(PREFACE, 0), (REQUESTS[0], 3)] {
            let stream = stream.to_owned() + "abcdef";
            let begun = stream.len() - 6;
            let socket = Socket {
                stream: stream.as_bytes().into(),
                read: Rc::default(),
                received: Rc::new(Cell::new(begun)),
            };
            let activity = Activity::new(&Drain::new());
            let mut io = activity.io(socket.clone());
            assert_eq!(read(&mut io), begun);
            let ended = activity.poll_begins();
            assert_eq!(read(&mut io), 0);
            socket.received.set(begun + 3);
            assert_eq!(read(&mut io), in_the_same_poll);
            activity.polled(ended, false);
            // No watch polls it.
            assert_eq!(read(&mut io), 3 - in_the_same_poll);
            socket.received.set(stream.len());
            assert_eq!(read(&mut io), 3);
        }
    }

    /// Whether a connection is idle after each of these cuts.
    fn looks<const N: usize>(kind: usize, stream: &str, cuts: &[usize; N]) -> [bool; N] {
        let socket = Socket {
            stream: stream.as_bytes().into(),
            read: Rc::default(),
            received: Rc::default(),
        };
        let drain = Drain::new();
        let activity = Activity::new(&drain);
        let (io, service) = (
            activity.io(socket.clone()),
            activity.service(service_fn(echo)),
        );
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let look = |mut conn: Pin<&mut dyn Future<Output = ()>>| {
            cuts.map(|cut| {
                socket.received.set(cut);
                woken.0.store(true, Ordering::Relaxed);
                while woken.0.swap(false, Ordering::Relaxed) {
                    let polled = conn.as_mut().poll(&mut Context::from_waker(&waker));
                    assert!(polled.is_pending(), "{:?} ends it", &stream[..cut]);
                }
                assert_eq!(socket.read.get(), cut);
                activity.is_idle()
            })
        };
        match kind {
            0 | 1 => {
                let mut http = http1::Builder::new();
                let conn = http.half_close(kind == 0).serve_connection(io, service);
                look(pin!(async { drop(conn.await) }))
            }
            _ => {
                let http = auto::Builder::new(Nowhere);
                let conn = http.serve_connection(io, service);
                look(pin!(async { drop(conn.await) }))
            }
        }
    }
}
