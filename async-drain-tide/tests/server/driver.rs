//! The driver on executors that the examples do not show.

use std::{
    cell::Cell,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    rc::Rc,
    thread,
};

use async_drain::Drain;
use async_drain_tide::Driver;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future::block_on};
use http_types::{Request, Response, StatusCode, upgrade::Connection};
use smol::{Async, LocalExecutor, channel};

use crate::support::client::Conn;

/// Neither the endpoint nor its executor is `Send`.
#[test]
fn serves_on_a_local_executor() {
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

/// Z6: an upgraded connection is waited for, and cut when aborting begins.
#[test]
fn an_upgraded_connection_is_waited_for() {
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
    let cut = block_on(upgraded.read(&mut pong)).expect_err("it is cut");
    assert_eq!(cut.kind(), ErrorKind::ConnectionAborted);
    drop(upgraded);
    drain.until_drained().wait();
}

/// A connection that has been upgraded, at both ends.
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
                sender.send(upgraded).await.expect("a test that waits");
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
