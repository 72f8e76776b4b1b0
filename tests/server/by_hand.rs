//! `Drain::watch`, for users that write their own accept loop: the same promises.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use async_drain::{
    Drain, Phase,
    hyper::{Activity, GracefulConnection},
};
use async_executor::LocalExecutor;
use futures_lite::{StreamExt, future::block_on};
use hyper::{server::conn::http1, service::service_fn};
use smol::Async;

use crate::in_process::answer;
use crate::support::{
    client::Conn,
    subject::{hello, refused},
};

/// Serves on one thread until `drain` is drained, with nothing that is `Send`.
fn serve(drain: &Drain, listener: Async<TcpListener>, keep_alive: Duration) {
    let executor = Rc::new(LocalExecutor::new());
    block_on(executor.run(async {
        let mut incoming = drain.accept(listener);
        while let Some(connection) = incoming.next().await {
            let connection = connection.expect("a listener");
            let activity = Activity::new(drain);
            let conn = http1::Builder::new().serve_connection(
                activity.io(connection.io),
                activity.service(service_fn(answer)),
            );
            let watched = drain
                .watch(conn)
                .activity(activity)
                .keep_alive_grace(keep_alive);
            // From here on the watch's guard counts the connection.
            drop(connection.guard);
            executor.spawn(watched).detach();
        }
        drain.until_drained().await;
    }));
}

fn started(drain: &Drain, keep_alive: Duration) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    let drain = drain.clone();
    (
        addr,
        thread::spawn(move || serve(&drain, listener, keep_alive)),
    )
}

/// Z2 Z3 Z5: an idle connection may place one more request, whose answer is the last.
#[test]
fn a_watched_connection_may_place_one_more_request() {
    let drain = Drain::new();
    let (addr, server) = started(&drain, Duration::from_secs(5));
    let mut conn = Conn::open(addr).expect("the server listens");
    hello(&mut conn, false);
    drain.begin();
    refused(addr);
    assert_eq!(drain.phase(), Phase::Draining);
    hello(&mut conn, true);
    server.join().expect("no panic");
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Z4 Z5: half a head is a request in flight, and may be completed.
#[test]
fn a_watched_connection_may_complete_its_head() {
    let drain = Drain::new();
    let (addr, server) = started(&drain, Duration::ZERO);
    let mut conn = Conn::open(addr).expect("the server listens");
    hello(&mut conn, false);
    conn.send(b"GET / HTTP/1.1\r\nho")
        .expect("an open connection");
    // Answered after the half head was read.
    hello(&mut Conn::open(addr).expect("the server listens"), false);
    drain.begin();
    // By then idle connections are closed, since they have no grace.
    refused(addr);
    assert_eq!(drain.phase(), Phase::Draining);
    conn.send(b"st: test\r\n\r\n").expect("an open connection");
    let answer = conn.read_response().expect("a whole answer");
    assert!(answer.head.closes(), "{:?}", answer.head);
    server.join().expect("no panic");
}

/// Z12: aborting cuts a watched connection and drops its guard.
#[test]
fn a_watched_connection_is_cut_by_aborting() {
    let drain = Drain::new();
    let (addr, server) = started(&drain, Duration::from_secs(5));
    let mut conn = Conn::open(addr).expect("the server listens");
    hello(&mut conn, false);
    drain.abort();
    server.join().expect("no panic");
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Drained, 0));
}

/// A connection that never ends.
struct Endless;

impl Future for Endless {
    type Output = Result<(), Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

impl GracefulConnection for Endless {
    type Error = Infallible;

    fn graceful_shutdown(self: Pin<&mut Self>) {}
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Z12: whatever has begun before, aborting wakes a watched connection that waits, and cuts it.
#[test]
fn aborting_wakes_a_watched_connection_in_each_phase() {
    let begins: [fn(&Drain) -> bool; 3] = [|_| true, Drain::enter_lame_duck, Drain::begin];
    for begin in begins {
        let drain = Drain::new();
        let mut watched = pin!(drain.watch(Endless));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        assert!(watched.as_mut().poll(&mut cx).is_pending());
        assert!(begin(&drain));
        assert!(watched.as_mut().poll(&mut cx).is_pending());
        woken.0.store(false, Ordering::Relaxed);
        drain.abort();
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(watched.as_mut().poll(&mut cx).is_ready());
    }
}
