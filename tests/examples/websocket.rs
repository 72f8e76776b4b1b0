use std::{net::TcpStream, time::Duration};

use async_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};
use futures_lite::StreamExt;
use rustix::process::Signal;
use smol::{Async, block_on};

use testkit::process::Server;

use crate::{TIMEOUT, example};

async fn connect(server: &Server) -> WebSocketStream<Async<TcpStream>> {
    let conn = Async::<TcpStream>::connect(server.addr()).await;
    let conn = conn.expect("it listens");
    let (socket, _) = client_async("ws://localhost/", conn)
        .await
        .expect("it speaks WebSocket");
    socket
}

async fn close_code(socket: &mut WebSocketStream<Async<TcpStream>>) -> CloseCode {
    match socket.next().await {
        Some(Ok(Message::Close(Some(frame)))) => frame.code,
        other => panic!("expected a close, got {other:?}"),
    }
}

/// Z6, S8: a session counts as one.
#[test]
fn a_peer_is_told_1001_and_its_goodbye_is_waited_for() {
    let mut server = Server::start(example("websocket"), &[]).expect("it starts");
    block_on(async {
        let mut socket = connect(&server).await;
        socket.send(Message::text("hello")).await.expect("room");
        let echo = socket.next().await.expect("an echo").expect("an echo");
        assert_eq!(echo, Message::text("hello"));

        // It was sent before the signal, so it is answered even if it is read afterwards.
        server.stop().expect("it runs");
        socket.send(Message::text("again")).await.expect("room");
        server.signal(Signal::TERM).expect("it runs");
        server.cont().expect("it runs");
        let echo = socket.next().await.expect("an echo").expect("an echo");
        assert_eq!(echo, Message::text("again"));
        assert_eq!(close_code(&mut socket).await, CloseCode::Away);
        assert!(
            socket.next().await.is_none(),
            "the closing handshake is complete"
        );
    });
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    assert!(
        exit.report.starts_with("drained: 1 in flight "),
        "{}",
        exit.report
    );
}

/// Z4, Z6: a silent peer is waited for, but not for long.
#[test]
fn a_peer_that_says_nothing_does_not_hold_the_process() {
    let mut server = Server::start(example("websocket"), &[]).expect("it starts");
    let socket = block_on(connect(&server));
    let mid_handshake = TcpStream::connect(server.addr()).expect("it listens");
    server.signal(Signal::TERM).expect("it runs");
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    // Two seconds for the close frame, and at most two more of lingering.
    assert!(exit.elapsed < Duration::from_secs(6), "{:?}", exit.elapsed);
    drop((socket, mid_handshake));
}
