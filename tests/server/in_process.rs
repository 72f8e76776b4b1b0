//! What tests share whose server runs in their own process.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use async_drain::{
    Drain,
    net::{Connection, Incoming, IntoAccept, Transport},
};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future::block_on};
use hyper::{Request, Response, body};
use smol::Async;

/// Binds a listener to a free port, and returns its address too.
pub(crate) fn listener() -> (Async<TcpListener>, SocketAddr) {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    (listener, addr)
}

/// Answers each request with `hello`.
pub(crate) async fn answer(_: Request<body::Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("hello\n".to_owned()))
}

/// How long a client takes to connect at most, unless its SYN is dropped: the kernel sends that
/// again after a second.
pub(crate) const A_RETRY: Duration = Duration::from_millis(900);

/// Has ten generations follow the first one while six clients connect for each request. Returns how
/// many times a client had to send its SYN again.
///
/// `accept` makes the accept loops of a generation, which answer one byte with another. When a
/// generation has answered some requests, the next one begins, and it is told to stop. Panics if a
/// connection is lost or refused.
pub(crate) fn ten_generations<L>(
    addr: SocketAddr,
    accept: impl Fn(&Drain) -> Vec<Incoming<L>>,
) -> usize
where
    L: IntoAccept<Accept: Unpin>,
    Incoming<L>: Send,
{
    const ENOUGH: usize = 40;
    const TIMEOUT: Duration = Duration::from_secs(10);
    let answered = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let retries = AtomicUsize::new(0);
    let ask = || {
        while !over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let mut peer =
                TcpStream::connect_timeout(&addr, TIMEOUT).expect("a generation listens");
            let took = begun.elapsed();
            peer.set_read_timeout(Some(TIMEOUT)).expect("a socket");
            peer.write_all(b"?").expect("an open connection");
            peer.read_exact(&mut [0]).expect("an answer");
            answered.fetch_add(1, Ordering::Relaxed);
            if took > A_RETRY {
                retries.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let start = || {
            let drain = Drain::new();
            let serving: Vec<_> = accept(&drain)
                .into_iter()
                .map(|incoming| scope.spawn(|| block_on(incoming.for_each(serve))))
                .collect();
            (drain, serving)
        };
        let stop = |(drain, serving): (Drain, Vec<ScopedJoinHandle<'_, ()>>)| {
            drain.begin();
            for serving in serving {
                serving.join().expect("no panic");
            }
        };
        let clients = [(); 6].map(|()| scope.spawn(ask));
        let mut current = start();
        for _ in 0..10 {
            let since = answered.load(Ordering::Relaxed);
            while answered.load(Ordering::Relaxed) < since + ENOUGH {
                thread::yield_now();
                if clients.iter().any(ScopedJoinHandle::is_finished) {
                    break;
                }
            }
            let next = start();
            stop(current);
            current = next;
        }
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no connection is lost or refused");
        }
        stop(current);
    });
    retries.into_inner()
}

fn serve<C: Transport>(accepted: io::Result<Connection<C>>) {
    block_on(async {
        let mut conn = accepted.expect("no error").io;
        conn.read_exact(&mut [0]).await?;
        conn.write_all(b"!").await?;
        conn.close().await
    })
    .expect("a peer that stays");
}
