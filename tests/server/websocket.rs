//! WebSockets are told when draining begins, and hold the exit until their close handshake is done
//! (Z6).

use std::{net::TcpStream, time::Duration};

use async_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};
use futures_lite::{StreamExt, future::block_on};
use rustix::process::Signal;
use smol::Async;

use crate::support::{process::Server, server};

type Socket = WebSocketStream<Async<TcpStream>>;

async fn open(server: &Server) -> Socket {
    let stream = Async::<TcpStream>::connect(server.addr()).await.unwrap();
    let (mut socket, _) = client_async(format!("ws://{}/ws", server.addr()), stream)
        .await
        .unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let echo = socket.next().await.unwrap().unwrap();
    assert_eq!(echo, Message::text("hello"));
    socket
}

async fn good_bye(socket: &mut Socket) -> CloseFrame {
    match socket.next().await {
        Some(Ok(Message::Close(Some(frame)))) => frame,
        other => panic!("no good-bye, but {other:?}"),
    }
}

/// Z6: the peer gets 1001 when draining begins, and the exit waits for its answer, not for the
/// grace period.
#[test]
fn a_websocket_is_told_to_go_away() {
    let mut server = Server::start(server("hyper"), &[("GRACE_MS", "10000")]).unwrap();
    block_on(async {
        let mut socket = open(&server).await;
        server.signal(Signal::TERM).unwrap();
        assert_eq!(u16::from(good_bye(&mut socket).await.code), 1001);
        // Reading answers the close frame.
        assert!(socket.next().await.is_none_or(|end| end.is_err()));
    });
    let exit = server.wait(Duration::from_secs(10)).unwrap();
    assert!(exit.status.success(), "{}", exit.stderr);
    assert!(
        exit.report.starts_with("drained: 1 in flight"),
        "{}",
        exit.report
    );
    assert!(exit.elapsed < Duration::from_secs(5), "{:?}", exit.elapsed);
}

/// Z6: a service that will be back can send 1012.
#[test]
fn a_websocket_is_told_to_come_back() {
    let mut server = Server::start(server("hyper"), &[("WS_CLOSE_CODE", "1012")]).unwrap();
    block_on(async {
        let mut socket = open(&server).await;
        server.signal(Signal::TERM).unwrap();
        assert_eq!(u16::from(good_bye(&mut socket).await.code), 1012);
    });
    server.wait(Duration::from_secs(10)).unwrap();
}

/// Z6: a peer that never answers the close frame holds the exit for a bounded time.
#[test]
fn a_mute_websocket_does_not_hold_the_exit() {
    let mut server = Server::start(server("hyper"), &[("GRACE_MS", "20000")]).unwrap();
    let socket = block_on(open(&server));
    server.signal(Signal::TERM).unwrap();
    let exit = server.wait(Duration::from_secs(15)).unwrap();
    assert!(exit.status.success(), "{}", exit.stderr);
    drop(socket);
}

/// Z12: aborting cuts a WebSocket whose close handshake is not done, and the report names it.
#[test]
fn a_websocket_is_cut_by_aborting() {
    let mut server = Server::start(server("hyper"), &[("GRACE_MS", "300")]).unwrap();
    let socket = block_on(open(&server));
    server.signal(Signal::TERM).unwrap();
    let exit = server.wait(Duration::from_secs(15)).unwrap();
    assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
    assert!(
        exit.stderr.contains("still in flight: WebSocket, for"),
        "{}",
        exit.stderr
    );
    drop(socket);
}
