//! The driver on executors that the tests poll by hand or that are not `Send`.

use std::{
    cell::Cell,
    future,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use async_drain::Drain;
use async_drain_tide::Driver;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future::block_on};
use http_types::{Request, Response, StatusCode, upgrade::Connection};
use smol::{Async, LocalExecutor, channel};

use crate::{scene::Scene, support::client::Conn};

/// Neither the endpoint nor its executor is `Send`.
#[test]
fn a_driver_serves_on_a_local_executor() {
    let drain = Drain::new();
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a listener");
    let addr = listener.get_ref().local_addr().expect("an address");
    let mut incoming = drain.accept(listener);
    let driver = Driver::new(&drain);
    let served = Rc::new(Cell::new(0));
    let executor = LocalExecutor::new();

    let stop = drain.clone();
    let peer = thread::spawn(move || {
        let mut conn = Conn::open(addr)?;
        for _ in 0..2 {
            conn.get("/")?;
            assert_eq!(conn.read_response()?.head.status, 200);
        }
        stop.begin();
        conn.get("/")?;
        let head = conn.read_response()?.head;
        assert!(head.closes());
        std::io::Result::Ok(())
    });
    block_on(executor.run(async {
        while let Some(connection) = incoming.next().await {
            let served = Rc::clone(&served);
            let serving = driver.drive(connection.expect("a connection"), move |request| {
                let served = Rc::clone(&served);
                async move {
                    assert!(request.peer_addr().is_some() && request.local_addr().is_some());
                    served.set(served.get() + 1);
                    Ok(Response::new(StatusCode::Ok))
                }
            });
            executor.spawn(serving).detach();
        }
        drain.until_drained().await;
    }));
    peer.join().expect("a peer").expect("answers");
    assert_eq!(served.get(), 3);
}

/// Z6: an upgraded connection keeps the drain from being drained, and fails when aborting begins.
#[test]
fn an_upgraded_connection_is_served_until_aborting_begins() {
    let drain = Drain::new();
    let (client, mut upgraded) = upgrade(&drain);
    drain.begin();
    (&client).write_all(b"ping").expect("an open connection");
    block_on(async {
        let mut ping = [0; 4];
        upgraded.read_exact(&mut ping).await.expect("a ping");
        assert_eq!(&ping, b"ping");
        upgraded
            .write_all(b"pong")
            .await
            .expect("an open connection");
    });
    let mut pong = [0; 4];
    (&client).read_exact(&mut pong).expect("a pong");
    assert_eq!(&pong, b"pong");
    assert_eq!(drain.in_flight(), 1);

    drain.abort();
    let cut = block_on(upgraded.read(&mut pong)).expect_err("the end of the grace");
    assert_eq!(cut.kind(), ErrorKind::ConnectionAborted);
    drop(upgraded);
    drain.until_drained().wait();
}

/// S8: an upgraded connection that its task drops while draining has ended by itself.
#[test]
fn an_upgraded_connection_that_ends_is_not_abandoned() {
    let drain = Drain::tracked();
    let (_client, upgraded) = upgrade(&drain);
    drain.begin();
    drop(upgraded);
    let report = block_on(drain.finish(future::pending::<()>()));
    assert_eq!(report.stragglers().total(), 0);
}

/// Upgrades a connection, and returns both of its ends.
fn upgrade(drain: &Drain) -> (TcpStream, Connection) {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a listener");
    let client = TcpStream::connect(listener.get_ref().local_addr().expect("an address"));
    let mut client = client.expect("a connection");
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n")
        .expect("an open connection");

    let (sender, receiver) = channel::bounded(1);
    let endpoint = move |_: Request| {
        let sender = sender.clone();
        async move {
            let mut response = Response::new(StatusCode::SwitchingProtocols);
            response.insert_header("connection", "upgrade");
            response.insert_header("upgrade", "test");
            let upgrade = response.recv_upgrade().await;
            smol::spawn(async move {
                let upgraded = upgrade.await.expect("an upgrade");
                sender.send(upgraded).await.expect("a receiver");
            })
            .detach();
            Ok(response)
        }
    };
    let upgraded = block_on(async {
        let mut incoming = drain.accept(listener);
        let connection = incoming.next().await.expect("one").expect("a connection");
        let driver = Driver::new(drain);
        driver
            .drive(connection, endpoint)
            .await
            .expect("an upgrade");
        receiver.recv().await.expect("an upgraded connection")
    });
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    (client, upgraded)
}

/// S8: a connection that is dropped with its executor during a request is abandoned, and named.
#[test]
fn a_connection_dropped_with_its_executor_is_abandoned() {
    let drain = Drain::tracked();
    let scene = Scene::open(&drain, |_| future::pending());
    scene.request("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n");
    drain.begin();
    let (mut peer, executor) = scene.into_parts();
    drop(executor);
    let report = block_on(drain.finish(future::pending::<()>()));
    let names: Vec<_> = report
        .stragglers()
        .iter()
        .map(|one| one.label.clone())
        .collect();
    assert_eq!(names, [Some("GET /slow".into())]);
    let mut answer = Vec::new();
    // Ends, or is reset, without an answer.
    let _ = peer.read_to_end(&mut answer);
    assert_eq!(answer, b"");
}

/// S8: the same if another task still has the body of the request.
#[test]
fn a_connection_whose_body_outlives_it_is_abandoned() {
    let drain = Drain::tracked();
    let (sender, receiver) = channel::bounded(1);
    let scene = Scene::open(&drain, move |mut request: Request| {
        let sender = sender.clone();
        async move {
            let body = request.take_body();
            sender.send(body).await.expect("a receiver");
            future::pending().await
        }
    });
    scene.request("POST /slow HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n");
    drain.begin();
    let body = receiver.try_recv().expect("a body");
    drop(scene);
    let report = block_on(drain.finish(future::pending::<()>()));
    assert_eq!(report.stragglers().total(), 1);
    drop(body);
}

/// Z12: a task that reads an upload after its answer is woken when aborting ends the connection.
#[test]
fn a_task_that_reads_an_upload_is_woken_by_aborting() {
    let drain = Drain::new();
    let (sender, receiver) = channel::bounded(1);
    let scene = Scene::open(&drain, move |mut request: Request| {
        let sender = sender.clone();
        async move {
            sender.send(request.take_body()).await.expect("a receiver");
            Ok(Response::new(202))
        }
    });
    scene.request("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhe");
    assert!(scene.read_head().starts_with("HTTP/1.1 202 "));
    let body = receiver.try_recv().expect("a body");
    let reader = scene.executor.spawn(body.into_bytes());
    while scene.executor.try_tick() {}
    assert_eq!(drain.in_flight(), 1);
    drain.begin();
    drain.abort();
    let read = block_on(scene.executor.run(reader));
    read.expect_err("an upload that was cut");
    drain.until_drained().wait();
}

/// S8: a connection that is dropped between requests is not abandoned.
#[test]
fn an_idle_connection_dropped_with_its_executor_is_not_abandoned() {
    let drain = Drain::tracked();
    let scene = Scene::open(&drain, |_| async { Ok(Response::new(200)) });
    scene.request("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    scene.read_head();
    drain.begin();
    drop(scene);
    let report = block_on(drain.finish(future::pending::<()>()));
    assert_eq!(report.stragglers().total(), 0);
}

/// S8: a peer that disconnects by itself is not abandoned.
#[test]
fn a_peer_that_disconnects_is_not_abandoned() {
    let drain = Drain::tracked();
    let scene = Scene::open(&drain, |mut request: Request| async move {
        request.body_bytes().await?;
        Ok(Response::new(200))
    });
    scene.request("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhe");
    drain.begin();
    let (peer, executor) = scene.into_parts();
    drop(peer);
    block_on(executor.run(drain.until_drained()));
    let report = block_on(drain.finish(future::pending::<()>()));
    assert_eq!(report.stragglers().total(), 0);
}

/// S8 Z11: a handler that panics abandons nothing.
#[test]
fn a_handler_that_panics_abandons_nothing() {
    let drain = Drain::tracked();
    let (sender, receiver) = channel::bounded::<()>(1);
    let scene = Scene::open(&drain, move |_| {
        let receiver = receiver.clone();
        async move {
            let _ = receiver.recv().await;
            panic!("asked to panic");
        }
    });
    scene.request("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    drain.begin();
    sender.try_send(()).expect("a handler that waits");
    assert_eq!(scene.read_to_end(), "");
    let report = block_on(drain.finish(future::pending::<()>()));
    assert_eq!(report.stragglers().total(), 0);
}

/// Z13: a head that is never completed is closed, draining or not; an idle connection is not.
#[test]
fn a_head_that_is_never_completed_is_closed() {
    let drain = Drain::new();
    let limit = Duration::from_millis(50);
    let driver = Driver::new(&drain).head_timeout(limit);
    let idle = Scene::of(&drain, &driver, |_| async { Ok(Response::new(200)) });
    let late = Scene::of(&drain, &driver, |_| async { Ok(Response::new(200)) });
    idle.request("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    idle.read_head();
    let begun = Instant::now();
    late.send("GET / HTTP/1.1\r\nho");
    late.read_to_end();
    assert!(begun.elapsed() >= limit);
    while idle.executor.try_tick() {}
    idle.request("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    idle.read_head();
}

/// Z3: `close` is added to the options of an answer, and the 2xx of CONNECT doesn't say it.
#[test]
fn close_is_said_where_http_allows_it() {
    let answer = |method: &str, status: u16| {
        let drain = Drain::new();
        let scene = Scene::open(&drain, move |_| async move {
            let mut response = Response::new(status);
            if status == 426 {
                response.insert_header("connection", "Upgrade");
            }
            Ok(response)
        });
        drain.enter_lame_duck();
        scene.request(&format!("{method} HTTP/1.1\r\nhost: test\r\n\r\n"));
        scene.read_head()
    };
    assert!(answer("GET /", 200).contains("\r\nconnection: close\r\n"));
    assert!(answer("GET /", 426).contains("\r\nconnection: Upgrade, close\r\n"));
    assert!(answer("CONNECT test:80", 403).contains("\r\nconnection: close\r\n"));
    assert!(!answer("CONNECT test:80", 200).contains("\r\nconnection:"));
}

/// async-h1 ignores the coding, and would read the body as the next request.
#[test]
fn a_body_in_an_unknown_coding_is_refused() {
    for codings in ["gzip, chunked", "chunked\r\ntransfer-encoding: gzip"] {
        let drain = Drain::new();
        let scene = Scene::open(&drain, |_| async { Ok(Response::new(200)) });
        scene.send(&format!(
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: {codings}\r\n\r\n\
             0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n",
        ));
        assert_eq!(scene.read_to_end(), "");
    }
}
