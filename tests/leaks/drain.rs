//! One drain from its creation to its drop, with a server on smol, and peers of every kind.

use std::{
    net::{SocketAddr, TcpListener},
    panic, thread,
    time::Duration,
};

use async_drain::{Drain, Report, Shutdown, hyper::Server};
use hyper::service::service_fn;
use smol::{Async, channel};
use socket2::SockRef;

use testkit::routes::{Route, answer::answer, websocket};
use testkit::{client::Conn, h2::H2Conn, subject::hello};

/// Panics are expected here, and their messages on the executor's threads are not interesting.
pub(crate) fn hush() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current()
            .name()
            .is_none_or(|name| !name.starts_with("smol"))
        {
            usual(info);
        }
    }));
}

/// Plays the `n`th drain: every third one is drained; the others have work that is abandoned, half
/// of them under a watchdog.
pub(crate) fn play(n: usize) {
    let drain = if n % 2 == 0 {
        Drain::tracked()
    } else {
        Drain::new()
    };
    let abandons = n % 3 > 0;
    let (stop, requests) = channel::bounded(1);
    let grace = Duration::from_millis(if abandons { 5 } else { 10_000 });
    let shutdown = Shutdown::new(&drain)
        .on(requests)
        .grace(grace)
        .abort_grace(Duration::from_secs(10));
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");

    let server = thread::spawn(move || {
        let server = serve(&drain, listener);
        let report = if n % 3 == 1 {
            let stuck = |report: &Report| panic!("nothing blocks the executor: {report}");
            smol::block_on(shutdown.run_with_watchdog(server, stuck)).expect("room for a thread")
        } else {
            smol::block_on(shutdown.run(server))
        };
        assert_eq!(drain.in_flight(), 0);
        report
    });
    let peers = Peers::come(addr, abandons);
    stop.try_send(()).expect("the server listens");
    drop(peers.gone_early);
    let report = server.join().expect("no panic");
    drop(peers.kept);
    // Besides these, work that was about to end by itself.
    let abandoned = report.stragglers().total();
    assert!(
        if abandons {
            abandoned >= 2
        } else {
            abandoned == 0
        },
        "{report}"
    );
    assert_eq!(report.still_running(), 0, "{report}");
}

async fn serve(drain: &Drain, listener: Async<TcpListener>) -> std::io::Result<()> {
    let service = service_fn({
        let drain = drain.clone();
        move |request| {
            let drain = drain.clone();
            async move {
                match Route::of(request.uri().path()) {
                    Route::WebSocket => Ok(websocket::upgrade(request, &drain, 1001)),
                    _ => answer(request, &drain).await,
                }
            }
        }
    });
    Server::new(drain, |task| smol::spawn(task).detach())
        .keep_alive_grace(Duration::ZERO)
        .first_request_grace(Duration::ZERO)
        .serve(listener, service)
        .await
}

/// Connections that exist when draining begins.
struct Peers {
    /// Closed when draining has begun: connections that the server would otherwise wait for.
    gone_early: (Conn, Option<H2Conn>),
    kept: (Vec<Conn>, Option<H2Conn>),
}

impl Peers {
    fn come(addr: SocketAddr, abandoned: bool) -> Self {
        let conn = || Conn::open(addr).expect("the server listens");
        let ask = |path: &str| {
            let mut conn = conn();
            conn.get(path).expect("an open connection");
            conn
        };
        let reset = |conn: Conn| {
            let socket = SockRef::from(conn.socket());
            socket.set_linger(Some(Duration::ZERO)).expect("a socket");
        };

        // Answered, then idle or closed.
        let mut idle = conn();
        hello(&mut idle, false);
        hello(&mut conn(), false);
        ask("/panic")
            .read_response()
            .expect_err("a panic is no answer");

        let mut half = conn();
        half.send(b"GET /sle").expect("an open connection");
        reset(half);
        let mut streaming = ask("/bytes/1000000");
        streaming.read_head().expect("a head");
        reset(streaming);

        let mut events = ask("/events/1");
        events.read_head().expect("a head");
        let mut websocket = conn();
        let upgrade = "GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        websocket
            .send(upgrade.as_bytes())
            .expect("an open connection");
        assert_eq!(websocket.read_head().expect("a head").status, 101);

        let mut http2 = H2Conn::open(addr).expect("the server listens");
        let stream = http2.get("/").expect("an open connection");
        http2.read_answer(stream).expect("an answer");
        let stream = http2.get("/panic").expect("an open connection");
        http2.read_answer(stream).expect("a reset");
        let mut kept = vec![idle, events];
        if !abandoned {
            return Self {
                gone_early: (websocket, Some(http2)),
                kept: (kept, None),
            };
        }
        kept.push(ask("/sleep/60000"));
        http2.get("/sleep/60000").expect("an open connection");
        // Both requests have begun once a later one is answered.
        let stream = http2.get("/").expect("an open connection");
        http2.read_answer(stream).expect("an answer");
        hello(&mut conn(), false);
        hello(&mut conn(), false);
        Self {
            gone_early: (websocket, None),
            kept: (kept, Some(http2)),
        }
    }
}
