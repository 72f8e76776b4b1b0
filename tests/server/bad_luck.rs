//! What goes wrong outside of us: a clear error or none, and never a lost count.

#[allow(dead_code, unreachable_pub, reason = "it is written for examples")]
#[path = "../../examples/common/tls.rs"]
mod tls;

use std::{
    convert::Infallible,
    future::Future,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use async_drain::{Drain, Phase, hyper::Server};
use futures_lite::{FutureExt, StreamExt, future::block_on};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::Async;
use socket2::SockRef;

use crate::support::{client::Conn, subject::hello};

fn listener() -> (Arc<Async<TcpListener>>, SocketAddr) {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    (Arc::new(listener), addr)
}

async fn answer(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("hello\n".to_owned()))
}

/// Runs `server` until `until` is over.
fn during<T>(
    server: impl Future<Output = std::io::Result<()>>,
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

/// Z10: a listener that somebody closes under us is an error, once, and holds no drain.
#[test]
fn a_listener_that_is_closed_under_us() {
    let drain = Drain::new();
    let (listener, _) = listener();
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

/// Z11: a spawner that panics takes the server with it, and no guard.
#[test]
fn a_spawner_that_panics() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let _peer = TcpStream::connect(addr).expect("room in the queue");
    let server = Server::new(&drain)
        .spawn(|_| panic!("no room for a task"))
        .serve(listener, service_fn(answer));
    catch_unwind(AssertUnwindSafe(|| block_on(server))).expect_err("the spawner's panic");
    assert_eq!(drain.in_flight(), 0);
    drain.begin();
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Z4: a peer that resets in the middle of its handshake ends its own connection and leaves no count.
#[test]
fn a_peer_that_resets_in_its_handshake() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let acceptor = tls::acceptor().expect("a certificate");
    let server = Server::new(&drain)
        .spawn(|task| smol::spawn(task).detach())
        .handshake(move |connection| acceptor.accept(connection))
        .serve(listener, service_fn(answer));
    let last = drain.clone();
    during(server, move || {
        for _ in 0..10 {
            let mut peer = TcpStream::connect(addr).expect("the server listens");
            // A record of the handshake's type that is longer than what follows.
            peer.write_all(&[22, 3, 1, 2, 0, 1])
                .expect("an open connection");
            SockRef::from(&peer)
                .set_linger(Some(std::time::Duration::ZERO))
                .expect("a socket");
        }
        // What is no handshake at all is told so by an alert, which comes after the resets were seen.
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

/// Z11: a drain that begins while a peer resets in the middle of its request.
#[test]
fn a_peer_that_resets_in_its_request() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let server = Server::new(&drain)
        .spawn(|task| smol::spawn(task).detach())
        .serve(listener, service_fn(answer));
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
