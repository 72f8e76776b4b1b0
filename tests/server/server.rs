//! `hyper::Server` in the test's own process: when it is stopped, and which executor it runs on.

use crate::in_process::{answer, listener};
use crate::support::client::Conn;
use crate::support::h2::{Answer, H2Conn};
use crate::support::subject::{hello, refused};
use async_drain::{Drain, Phase, hyper::Server, net::Connections};
use async_executor::LocalExecutor;
use futures_lite::future::{block_on, poll_once, zip};
use futures_lite::{FutureExt, stream};
use hyper::service::service_fn;
use smol::Async;
use std::cell::Cell;
use std::io::Error;
use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;
use std::thread;

/// Z11, Z1: if the drain begins before the server is first polled, queued connections are still
/// answered.
#[test]
fn a_server_stopped_before_it_serves_answers_its_queue() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let mut queued = [(); 5].map(|()| Conn::open(addr).expect("room in the queue"));
    for conn in &mut queued {
        conn.get("/").expect("an open connection");
    }
    let serving =
        Server::new(&drain, |task| smol::spawn(task).detach()).serve(listener, service_fn(answer));
    drain.begin();
    assert_eq!(drain.phase(), Phase::Draining);
    block_on(serving).expect("no failure");
    refused(addr);
    for conn in &mut queued {
        let answer = conn.read_response().expect("a whole answer");
        assert_eq!(
            (answer.head.status, answer.body),
            (200, b"hello\n".to_vec())
        );
        assert!(answer.head.closes(), "{:?}", answer.head);
    }
    drain.until_drained().wait();
}

/// Z11: a server whose drain is already drained ends at once, and new connections are refused.
#[test]
fn a_server_of_a_drained_drain_ends_at_once() {
    let drain = Drain::new();
    drain.begin();
    assert_eq!(drain.phase(), Phase::Drained);
    let (listener, addr) = listener();
    let serving =
        Server::new(&drain, |task| smol::spawn(task).detach()).serve(listener, service_fn(answer));
    block_on(serving).expect("no failure");
    refused(addr);
}

/// Z5, Z11: dropping the server closes its listener but no connection; the drain still waits for
/// the connections.
#[test]
fn dropping_the_server_closes_no_connection() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let (begun, begins) = smol::channel::bounded(1);
    let (release, released) = smol::channel::bounded::<()>(1);
    let serving = Server::new(&drain, |task| smol::spawn(task).detach()).serve(
        listener,
        service_fn(move |request| {
            let (begun, released) = (begun.clone(), released.clone());
            async move {
                begun.send(()).await.expect("the test listens");
                released.recv().await.expect("the test releases");
                answer(request).await
            }
        }),
    );
    let mut conn = Conn::open(addr).expect("room in the queue");
    conn.get("/").expect("an open connection");
    // The server is dropped as soon as the handler runs.
    let handler = async { begins.recv().await.expect("the handler runs") };
    block_on(async { serving.await.expect("no failure") }.or(handler));
    refused(addr);
    drain.begin();
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 1));
    release.send_blocking(()).expect("the handler waits");
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(
        (answer.head.status, answer.body),
        (200, b"hello\n".to_vec())
    );
    drain.until_drained().wait();
}

/// Z5: when a stream of connections ends, accepting ends, and the connections go on.
#[test]
fn a_stream_of_connections_that_ends_ends_accepting_only() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let mut clients = [(); 2].map(|()| Conn::open(addr).expect("room in the queue"));
    let accepted = [(); 2].map(|()| {
        let (socket, _) = listener.get_ref().accept().expect("one in the queue");
        Async::new(socket)
    });
    let serving = Server::new(&drain, |task| smol::spawn(task).detach())
        .serve(Connections::new(stream::iter(accepted)), service_fn(answer));
    block_on(serving).expect("no failure");
    assert_eq!(drain.phase(), Phase::Running);
    for client in &mut clients {
        hello(client, false);
    }
    drain.begin();
    for client in &mut clients {
        hello(client, true);
    }
    drain.until_drained().wait();
}

/// Z10: a stream of connections that always fails does not make the server fail.
#[test]
fn a_stream_of_connections_may_fail_for_ever() {
    let drain = Drain::new();
    let failing = stream::repeat_with(|| Err::<Async<TcpStream>, _>(Error::other("none today")));
    let serving = Server::new(&drain, |task| smol::spawn(task).detach())
        .serve(Connections::new(failing), service_fn(answer));
    let mut serving = pin!(serving);
    assert!(block_on(poll_once(serving.as_mut())).is_none());
    drain.begin();
    block_on(serving).expect("no failure");
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Z5, Z11: one thread with `block_on`, a `LocalExecutor` and a handler that is not `Send` and
/// begins the drain itself.
#[test]
fn a_server_may_run_on_one_thread_without_send() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let executor = Rc::new(LocalExecutor::new());
    let spawner = Rc::clone(&executor);
    let served = Rc::new(Cell::new(0));
    let service = service_fn({
        let (drain, served) = (drain.clone(), Rc::clone(&served));
        move |request| {
            let (drain, served) = (drain.clone(), Rc::clone(&served));
            async move {
                served.set(served.get() + 1);
                if served.get() == 3 {
                    drain.begin();
                }
                answer(request).await
            }
        }
    });
    let serving =
        Server::local(&drain, move |task| spawner.spawn(task).detach()).serve(listener, service);
    let clients = thread::spawn(move || {
        let mut h2 = H2Conn::open(addr).expect("the server listens");
        let stream = h2.get("/").expect("an open connection");
        let body = b"hello\n".to_vec();
        assert_eq!(
            h2.read_answer(stream).expect("an end of the stream"),
            Answer::Complete { status: 200, body }
        );
        let mut conn = Conn::open(addr).expect("the server listens");
        hello(&mut conn, false);
        hello(&mut conn, true);
        h2.read_to_end().expect("no reset");
    });
    let (end, ()) = block_on(executor.run(zip(serving, drain.until_drained())));
    end.expect("no failure");
    clients.join().expect("no panic");
    assert_eq!(served.get(), 3);
}
