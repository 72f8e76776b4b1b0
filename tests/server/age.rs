//! What handlers, upgraded connections and the report learn of a connection's age.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::SocketAddr,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use async_drain::{
    Drain, Observer, Report,
    hyper::{FromHyper, Limits, Server},
};
use futures_lite::{
    AsyncReadExt, AsyncWriteExt,
    future::{block_on, pending},
};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, HeaderValue, UPGRADE},
    service::service_fn,
};
use smol::future::Future;
use testkit::{
    client::Conn,
    h2::{Answer, H2Conn},
    subject::TIMEOUT,
};

use crate::in_process::listener;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(3600);

/// The drain of the connection that has asked for `/keep`.
static KEPT: Mutex<Option<Observer>> = Mutex::new(None);

/// The queries of the upgrades whose tasks have dropped all that they had.
static ENDED: Mutex<Vec<String>> = Mutex::new(Vec::new());

async fn answer(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let mut response = Response::new(String::new());
    let Some(connection) = request.extensions().get::<Observer>().cloned() else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    let Ok(guard) = connection.guard() else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(response);
    };
    let asks = request.headers().contains_key(UPGRADE);
    let upgraded = hyper::upgrade::on(&mut request);
    if asks {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("test"));
    }
    match request.uri().path() {
        "/until-told" => {
            guard.until_draining().await;
            *response.body_mut() = match guard.deadline() {
                Some(_) => "a deadline".to_owned(),
                None => "no deadline".to_owned(),
            };
        }
        "/never" => pending().await,
        "/keep" => *KEPT.lock().expect("no panic") = Some(connection),
        "/upgrade" => {
            let guard = guard.labeled("upgraded");
            let query = request.uri().query().unwrap_or_default().to_owned();
            smol::spawn(async move {
                let mut io = FromHyper::new(upgraded.await.expect("an upgrade"));
                guard.until_draining().await;
                io.write_all(b"told").await.expect("an open connection");
                guard.until_aborting().await;
                io.write_all(b"cut").await.expect("an open connection");
                io.close().await.expect("an open connection");
                drop((io, guard));
                ENDED.lock().expect("no panic").push(query);
            })
            .detach();
        }
        "/upgrade-without-a-guard" => {
            drop(guard);
            smol::spawn(async move {
                let mut io = FromHyper::new(upgraded.await.expect("an upgrade"));
                let mut bytes = Vec::new();
                io.read_to_end(&mut bytes).await
            })
            .detach();
        }
        _ => {}
    }
    Ok(response)
}

fn server(drain: &Drain, limits: Limits) -> (SocketAddr, impl Future + Send + use<>) {
    let (listener, addr) = listener();
    let serving = Server::new(drain, |task| smol::spawn(task).detach())
        .limits(limits)
        .serve(listener, service_fn(answer));
    (addr, serving)
}

/// Serves with these limits, for as long as the test runs.
fn serve(limits: Limits) -> (Drain, SocketAddr) {
    let drain = Drain::tracked();
    let (addr, serving) = server(&drain, limits);
    smol::spawn(async { drop(serving.await) }).detach();
    (drain, addr)
}

fn connect(addr: SocketAddr) -> Conn {
    Conn::open(addr).expect("the server listens")
}

/// Sends a request, and returns the status of its answer and whether that says `close`.
fn get(conn: &mut Conn, path: &str) -> (u16, bool) {
    conn.get(path).expect("an open connection");
    let head = conn.read_response().expect("a whole answer").head;
    (head.status, head.closes())
}

/// Opens a connection and has it upgraded.
fn upgrade(addr: SocketAddr, path: &str) -> Conn {
    let mut conn = connect(addr);
    let head = "host: test\r\nconnection: upgrade\r\nupgrade: test";
    conn.send(format!("GET {path} HTTP/1.1\r\n{head}\r\n\r\n").as_bytes())
        .expect("an open connection");
    let mut socket = conn.socket();
    socket.set_read_timeout(Some(TIMEOUT)).expect("a socket");
    // No byte more than the head: what follows it may have arrived as well.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
    conn
}

fn finished(drain: &Drain) -> Report {
    drain.begin();
    block_on(drain.finish_within(TIMEOUT))
}

/// Z7 Z14: a handler is told when the age of its connection has come, in lame duck too.
#[test]
fn handlers_are_told_of_their_connections_age() {
    let limits = Limits::new().age(SHORT);
    for (limits, deadline, lame_duck) in [
        (limits, "no deadline", false),
        (limits.age_grace(LONG), "a deadline", false),
        (limits, "no deadline", true),
    ] {
        let (drain, addr) = serve(limits);
        let mut http1 = connect(addr);
        let mut http2 = H2Conn::open(addr).expect("the server listens");
        http1.get("/until-told").expect("an open connection");
        let stream = http2.get("/until-told").expect("an open connection");
        if lame_duck {
            drain.enter_lame_duck();
        }
        let response = http1.read_response().expect("a whole answer");
        assert_eq!(response.body, deadline.as_bytes());
        assert!(response.head.closes(), "{:?}", response.head);
        match http2.read_answer(stream).expect("an end of the stream") {
            Answer::Complete { status: 200, body } => assert_eq!(body, deadline.as_bytes()),
            other => panic!("{other:?}"),
        }
        assert!(!drain.is_draining());
        assert_eq!(get(&mut connect(addr), "/").0, 200);
    }
}

/// Z7: handlers of a connection whose age is limited are told when the server drains.
#[test]
fn handlers_of_a_young_connection_are_told_of_draining() {
    let (drain, addr) = serve(Limits::new().age(LONG));
    let mut conn = connect(addr);
    conn.get("/until-told").expect("an open connection");
    while drain.in_flight() < 2 {
        thread::yield_now();
    }
    drain.begin_with_deadline(Instant::now() + TIMEOUT);
    let response = conn.read_response().expect("a whole answer");
    assert_eq!(response.body, b"a deadline");
    drain.until_drained().wait();
}

/// Z14: until an aged connection ends, its requests get their guards.
#[test]
fn a_request_on_an_aged_connection_gets_a_guard() {
    let (_drain, addr) = serve(Limits::new().age(SHORT));
    let mut conn = connect(addr);
    loop {
        let (status, closes) = get(&mut conn, "/");
        assert_eq!(status, 200);
        if closes {
            break;
        }
    }
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
}

/// Z1 Z14: so do those of connections that are accepted while the server drains.
#[test]
fn a_request_on_a_connection_accepted_while_draining_gets_a_guard() {
    let drain = Drain::new();
    let (addr, serving) = server(&drain, Limits::new().age(LONG));
    let mut conn = connect(addr);
    conn.get("/").expect("an open connection");
    drain.begin();
    let serving = smol::spawn(async { drop(serving.await) });
    let head = conn.read_response().expect("a whole answer").head;
    assert_eq!((head.status, head.closes()), (200, true));
    block_on(serving);
    drain.until_drained().wait();
}

/// Z14: a server without this limit gives its requests nothing.
#[test]
fn requests_carry_nothing_if_ages_are_not_limited() {
    let (_drain, addr) = serve(Limits::new().idle(LONG).spread(SHORT));
    assert_eq!(get(&mut connect(addr), "/").0, 404);
}

/// Z7 Z14: an upgraded connection is told of its age and of the age grace's end, though its task
/// neither reads nor writes, and is not cut.
#[test]
fn an_upgraded_connection_is_told_of_its_age() {
    let (drain, addr) = serve(Limits::new().age(SHORT).age_grace(SHORT));
    let opened = Instant::now();
    let conn = upgrade(addr, "/upgrade?told-of-its-age");
    let mut bytes = Vec::new();
    conn.socket().read_to_end(&mut bytes).expect("no reset");
    assert_eq!(bytes, b"toldcut");
    assert!(opened.elapsed() > SHORT, "{:?}", opened.elapsed());
    assert!(!drain.is_draining());
    // What its age grace aborted is abandoned if it ends when the shutdown has begun.
    let ended = |query: &String| query == "told-of-its-age";
    while !ENDED.lock().expect("no panic").iter().any(ended) {
        thread::yield_now();
    }
    assert_eq!(drain.in_flight(), 0);
    let report = finished(&drain);
    assert!(report.is_drained(), "{report}");
}

/// Z6 Z14: without an age grace it may last; draining tells it, too.
#[test]
fn an_upgraded_connection_without_an_age_grace_is_told_once() {
    for age in [SHORT, LONG] {
        let (drain, addr) = serve(Limits::new().age(age));
        let conn = upgrade(addr, "/upgrade");
        if age == LONG {
            drain.begin();
        }
        let mut told = [0; 4];
        conn.socket().read_exact(&mut told).expect("no reset");
        assert_eq!(&told, b"told");
        assert_eq!(drain.in_flight(), 1);
        drain.abort();
        let mut bytes = Vec::new();
        conn.socket().read_to_end(&mut bytes).expect("no reset");
        assert_eq!(bytes, b"cut");
        drain.until_drained().wait();
    }
}

/// Z6: an upgraded connection that has no guard doesn't keep the drain from being drained.
#[test]
fn an_upgraded_connection_without_a_guard_does_not_count() {
    let (drain, addr) = serve(Limits::new().age(LONG));
    let conn = upgrade(addr, "/upgrade-without-a-guard");
    while drain.in_flight() > 0 {
        thread::yield_now();
    }
    drain.begin();
    assert!(drain.until_drained().wait_timeout(TIMEOUT));
    conn.socket().write_all(b"x").expect("an open connection");
}

/// Z14: what still waits for the drain of a connection is told when the connection has ended.
#[test]
fn the_drain_of_a_connection_ends_with_it() {
    let (drain, addr) = serve(Limits::new().age(LONG));
    let mut conn = connect(addr);
    assert_eq!(get(&mut conn, "/keep").0, 200);
    let kept = KEPT.lock().expect("no panic").take().expect("it is kept");
    assert!(!kept.is_draining());
    drop(conn);
    assert!(kept.until_drained().wait_timeout(TIMEOUT));
    assert!(!drain.is_draining());
}

/// S8 Z14: what the end of the age grace cuts while the server stops is in the report: the
/// connection, and what its handlers have in flight. What was cut before is not.
#[test]
fn a_cut_by_age_is_reported_if_the_shutdown_is_under_way() {
    for stopping in [true, false] {
        let (drain, addr) = serve(Limits::new().age(SHORT).age_grace(SHORT));
        let mut conn = connect(addr);
        conn.get("/never").expect("an open connection");
        if stopping {
            drain.enter_lame_duck();
        }
        let mut bytes = Vec::new();
        conn.socket()
            .set_read_timeout(Some(TIMEOUT))
            .expect("a socket");
        let _ = conn.socket().read_to_end(&mut bytes);
        assert_eq!(bytes, b"");
        while drain.in_flight() > 0 {
            thread::yield_now();
        }
        let report = finished(&drain);
        assert_ne!(report.is_drained(), stopping, "{report}");
        let labels: Vec<_> = (report.stragglers().iter())
            .map(|straggler| straggler.label.as_deref())
            .collect();
        if stopping {
            assert_eq!(labels.len(), 2, "{report}");
            assert!(labels.contains(&Some("GET /never")), "{report}");
        } else {
            assert!(labels.is_empty(), "{report}");
        }
    }
}
