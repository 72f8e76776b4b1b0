//! Faults outside of this crate: a clear error or none, and the count stays right.

use std::{
    future::Future,
    io::{ErrorKind, IoSlice, IoSliceMut, Read, Result, Write},
    net::{Shutdown, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_drain::{Drain, Phase, hyper::Server, net::Connections};
use futures_lite::{AsyncRead, AsyncWrite, FutureExt, StreamExt, future::block_on, stream};
use hyper::service::service_fn;
use socket2::SockRef;

use crate::in_process::{answer, listener};
use testkit::{certificate, client::Conn, subject::hello};

/// Runs `server` until `until` is ready.
fn during<T>(
    server: impl Future<Output = Result<()>>,
    until: impl FnOnce() -> T + Send + 'static,
) -> T
where
    T: Send + 'static,
{
    block_on(async {
        let serving = async {
            server.await.expect("no failure");
            std::future::pending().await
        };
        smol::unblock(until).or(serving).await
    })
}

/// Z10: a listener that other code closes is an error, once, and does not hold the drain.
#[test]
fn a_listener_that_is_closed_elsewhere_is_an_error() {
    let drain = Drain::new();
    let listener = Arc::new(listener().0);
    let mut incoming = drain.accept(Arc::clone(&listener));
    SockRef::from(listener.get_ref())
        .shutdown(Shutdown::Both)
        .expect("a listener");
    let error = block_on(incoming.next())
        .expect("an item")
        .expect_err("no listener any more");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(block_on(incoming.next()).is_none());
    drain.begin();
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Z11: a spawner that panics ends the server, and leaves no guard.
#[test]
fn a_spawner_that_panics_leaves_no_guard() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let _peer = TcpStream::connect(addr).expect("room in the queue");
    let server =
        Server::new(&drain, |_| panic!("no room for a task")).serve(listener, service_fn(answer));
    catch_unwind(AssertUnwindSafe(|| block_on(server))).expect_err("the spawner's panic");
    assert_eq!(drain.in_flight(), 0);
    drain.begin();
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Z4: a peer that resets during its handshake ends its own connection and leaves no guard.
#[test]
fn a_peer_that_resets_in_its_handshake_leaves_no_guard() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let acceptor = certificate::acceptor().expect("a certificate");
    let server = Server::new(&drain, |task| smol::spawn(task).detach())
        .handshake(move |connection| acceptor.accept(connection))
        .serve(listener, service_fn(answer));
    let last = drain.clone();
    during(server, move || {
        for _ in 0..10 {
            let mut peer = TcpStream::connect(addr).expect("the server listens");
            // The head of a handshake record, longer than what follows.
            peer.write_all(&[22, 3, 1, 2, 0, 1])
                .expect("an open connection");
            SockRef::from(&peer)
                .set_linger(Some(std::time::Duration::ZERO))
                .expect("a socket");
        }
        // A peer that sends something else is told by an alert, which is sent after the resets were
        // seen.
        let mut peer = TcpStream::connect(addr).expect("the server listens");
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n")
            .expect("an open connection");
        let mut alert = Vec::new();
        let _ = peer.read_to_end(&mut alert);
        last.begin();
        last.until_drained().wait();
    });
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Drained, 0));
}

/// Z11: the drain begins while a peer resets in the middle of its request.
#[test]
fn a_peer_that_resets_in_its_request_leaves_no_guard() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let server =
        Server::new(&drain, |task| smol::spawn(task).detach()).serve(listener, service_fn(answer));
    let last = drain.clone();
    during(server, move || {
        let mut peer = TcpStream::connect(addr).expect("the server listens");
        peer.write_all(b"GET / HT").expect("an open connection");
        hello(&mut Conn::open(addr).expect("the server listens"), false);
        SockRef::from(&peer)
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("a socket");
        last.begin();
        drop(peer);
        last.until_drained().wait();
    });
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Drained, 0));
}

/// A connection each of whose calls is interrupted by a signal first.
struct Interrupted<C> {
    conn: C,
    again: bool,
}

impl<C: Unpin> Interrupted<C> {
    fn call<T>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut C>, &mut Context<'_>) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        let this = self.get_mut();
        this.again = !this.again;
        if this.again {
            return Poll::Ready(Err(ErrorKind::Interrupted.into()));
        }
        poll(Pin::new(&mut this.conn), cx)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Interrupted<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<usize>> {
        self.call(cx, |conn, cx| conn.poll_read(cx, buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<Result<usize>> {
        self.call(cx, |conn, cx| conn.poll_read_vectored(cx, bufs))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Interrupted<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.call(cx, |conn, cx| conn.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.call(cx, |conn, cx| conn.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.call(cx, AsyncWrite::poll_flush)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.call(cx, AsyncWrite::poll_close)
    }
}

/// Z10: a signal that interrupts a read, a write or an accept ends no connection.
#[test]
fn a_signal_interrupts_no_connection() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let connections = stream::unfold(listener, |listener| async {
        let conn = listener
            .accept()
            .await
            .map(|(conn, _)| Interrupted { conn, again: false });
        Some((conn, listener))
    });
    let server = Server::new(&drain, |task| smol::spawn(task).detach())
        .serve(Connections::new(connections), service_fn(answer));
    let last = drain.clone();
    during(server, move || {
        let mut conn = Conn::open(addr).expect("the server listens");
        hello(&mut conn, false);
        hello(&mut conn, false);
        drop(conn);
        last.begin();
        last.until_drained().wait();
    });
    assert_eq!(drain.phase(), Phase::Drained);
}
