//! `Drain::watch`, for users that write their own accept loop: the same promises.

use std::{
    cell::Cell,
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
    time::{Duration, Instant},
};

use async_drain::{
    Drain, Observer, Phase,
    hyper::{Activity, GracefulConnection, Limits},
};
use async_executor::LocalExecutor;
use futures_lite::{
    StreamExt,
    future::{block_on, or},
};
use hyper::{
    Request, Response, body::Incoming, header::HeaderValue, server::conn::http1,
    service::service_fn,
};
use smol::Async;

use crate::support::{
    client::Conn,
    subject::{TIMEOUT, hello, refused},
};

const SHORT: Duration = Duration::from_millis(200);

/// Answers `hello` and, if the request tells of its connection, whether that is drained.
async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let mut response = Response::new("hello\n".to_owned());
    if let Some(connection) = request.extensions().get::<Observer>() {
        let has_guard = HeaderValue::from(u16::from(connection.guard().is_ok()));
        response.headers_mut().insert("x-has-guard", has_guard);
    }
    Ok(response)
}

/// Serves on one thread until `drain` is drained, with nothing that is `Send`.
fn serve(drain: &Drain, listener: Async<TcpListener>, keep_alive: Duration, limits: Limits) {
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
                .limits(limits)
                .keep_alive_grace(keep_alive);
            // From here on the watch's guard counts the connection.
            drop(connection.guard);
            executor.spawn(watched).detach();
        }
        drain.until_drained().await;
    }));
}

fn started(drain: &Drain, keep_alive: Duration) -> (SocketAddr, thread::JoinHandle<()>) {
    started_with(drain, keep_alive, Limits::new())
}

fn started_with(
    drain: &Drain,
    keep_alive: Duration,
    limits: Limits,
) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    let drain = drain.clone();
    (
        addr,
        thread::spawn(move || serve(&drain, listener, keep_alive, limits)),
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

/// Z14: the idle limit of a watched connection is advertised, and kept for a second longer.
#[test]
fn a_watched_connection_has_an_idle_limit() {
    let limit = Duration::from_millis(1_200);
    let drain = Drain::new();
    let limits = Limits::new().idle(limit);
    let (addr, server) = started_with(&drain, Duration::ZERO, limits);
    let mut conn = Conn::open(addr).expect("the server listens");
    conn.get("/").expect("an open connection");
    let head = conn.read_response().expect("a whole answer").head;
    let answered = Instant::now();
    assert_eq!(head.header("keep-alive"), Some("timeout=1"), "{head:?}");
    assert_eq!(head.header("x-has-guard"), None, "{head:?}");
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
    assert!(answered.elapsed() > limit, "{:?}", answered.elapsed());
    drain.begin();
    server.join().expect("no panic");
}

/// Z7 Z14: the peer of a watched connection is told of its age, and handlers can be.
#[test]
fn a_watched_connection_has_an_age() {
    let drain = Drain::new();
    let limits = Limits::new().age(SHORT);
    let (addr, server) = started_with(&drain, Duration::ZERO, limits);
    let mut conn = Conn::open(addr).expect("the server listens");
    loop {
        conn.get("/").expect("an open connection");
        let head = conn.read_response().expect("a whole answer").head;
        assert_eq!(head.header("x-has-guard"), Some("1"), "{head:?}");
        if head.closes() {
            break;
        }
    }
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
    drain.begin();
    server.join().expect("no panic");
}

/// Z14: a watched connection is not told to leave before its moment in the window.
#[test]
fn a_watched_connection_leaves_within_a_window() {
    let drain = Drain::new();
    let limits = Limits::new().spread(Duration::from_secs(3600));
    let (addr, server) = started_with(&drain, Duration::ZERO, limits);
    let mut conn = Conn::open(addr).expect("the server listens");
    hello(&mut conn, false);
    drain.begin();
    refused(addr);
    hello(&mut conn, false);
    drain.abort();
    server.join().expect("no panic");
}

/// Z14: if nothing is known of a connection's activity, its age asks it to end, and the age grace
/// cuts it. An idle limit doesn't apply: it may be at work.
#[test]
fn the_age_of_a_connection_whose_activity_is_unknown_ends_it() {
    let drain = Drain::new();
    let asked = Rc::default();
    let limits = Limits::new().age(SHORT);
    let watched = drain.watch(Asked::obedient(&asked)).limits(limits);
    let watched = watched.keep_alive_grace(Duration::ZERO);
    block_on(watched).expect("it ends");
    assert!(asked.get());

    let asked = Rc::default();
    let cut = drain
        .watch(Asked::stubborn(&asked))
        .limits(limits.age_grace(SHORT));
    block_on(cut).expect("it is cut");

    let asked = Rc::default();
    let idle = Limits::new().idle(Duration::ZERO);
    let watched = drain.watch(Asked::obedient(&asked)).limits(idle);
    let watched = async { watched.keep_alive_grace(Duration::ZERO).await.is_ok() };
    let later = async {
        smol::Timer::after(SHORT * 8).await;
        false
    };
    assert!(!block_on(or(watched, later)), "it was asked to end");
    assert_eq!(drain.in_flight(), 0);
}

/// Z6 Z14: a watch that has ended keeps the drain from nothing, wherever it is kept.
#[test]
fn a_watch_that_has_ended_holds_nothing() {
    let drain = Drain::new();
    let mut watched = pin!(
        drain
            .watch(Asked::obedient(&Rc::default()))
            .activity(Activity::new(&drain))
            .limits(Limits::new().age(SHORT))
            .keep_alive_grace(Duration::ZERO)
            .first_request_grace(Duration::ZERO)
    );
    drain.begin();
    block_on(watched.as_mut()).expect("it ends");
    assert_eq!(drain.phase(), Phase::Drained);
}

/// A connection that notes whether it was asked to end.
struct Asked {
    asked: Rc<Cell<bool>>,
    obeys: bool,
}

impl Asked {
    fn obedient(asked: &Rc<Cell<bool>>) -> Self {
        Self {
            asked: Rc::clone(asked),
            obeys: true,
        }
    }

    fn stubborn(asked: &Rc<Cell<bool>>) -> Self {
        Self {
            obeys: false,
            ..Self::obedient(asked)
        }
    }
}

impl Future for Asked {
    type Output = Result<(), Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if self.asked.get() && self.obeys {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

impl GracefulConnection for Asked {
    type Error = Infallible;

    fn graceful_shutdown(self: Pin<&mut Self>) {
        self.asked.set(true);
    }
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
