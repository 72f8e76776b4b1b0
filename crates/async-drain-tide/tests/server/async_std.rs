//! Listeners of async-std.

use std::net::{TcpListener, TcpStream};

use async_drain::{Drain, net::Connections};
use async_std::net::TcpListener as AsyncStdListener;
use futures_lite::{StreamExt, future::block_on};

fn bound() -> (AsyncStdListener, Vec<TcpStream>) {
    let listener = block_on(AsyncStdListener::bind("127.0.0.1:0")).expect("a free port");
    let addr = listener.local_addr().expect("a bound listener");
    let queued = (0..5).map(|_| TcpStream::connect(addr).expect("room in the queue"));
    let queued = queued.collect();
    (listener, queued)
}

/// Z1: as the listener of std that it can be turned into, it keeps its queue.
#[test]
fn a_listener_of_async_std_keeps_its_queue() {
    let (listener, queued) = bound();
    let drain = Drain::new();
    let incoming = drain.accept(TcpListener::try_from(listener).expect("it is the only handle"));
    drain.begin();
    assert_eq!(block_on(incoming.collect::<Vec<_>>()).len(), queued.len());
}

/// A stream of its connections can be accepted from too, and is what it is called.
#[test]
fn a_stream_of_connections_is_accepted_from() {
    let (listener, queued) = bound();
    let drain = Drain::new();
    let mut incoming = drain.accept(Connections::new(listener.incoming()));
    for _ in &queued {
        let accepted = block_on(incoming.next()).expect("one in the queue");
        accepted.expect("no error");
    }
    drain.begin();
    assert!(block_on(incoming.next()).is_none());
}
