//! A WebSocket that echoes messages, and closes when draining begins (Z6).

use async_drain::{Drain, futures::UntilDraining};
use async_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};
use futures_lite::{FutureExt, StreamExt};
use http_types::{Request, Response, StatusCode, upgrade::Connection};

/// Answers the handshake. The upgraded connection holds its guard, so its task needs none.
pub(crate) async fn upgrade(request: &Request, drain: &Drain) -> Response {
    let Some(key) = request.header("sec-websocket-key") else {
        return Response::new(StatusCode::BadRequest);
    };
    let mut response = Response::new(StatusCode::SwitchingProtocols);
    response.insert_header("connection", "upgrade");
    response.insert_header("upgrade", "websocket");
    let accept = derive_accept_key(key.as_str().as_bytes());
    response.insert_header("sec-websocket-accept", accept);
    let upgrade = response.recv_upgrade().await;
    let draining = drain.until_draining();
    smol::spawn(async {
        if let Some(connection) = upgrade.await {
            // If it fails, the peer knows.
            let _ = echo(connection, draining).await;
        }
    })
    .detach();
    response
}

async fn echo(connection: Connection, mut draining: UntilDraining) -> Result<(), Error> {
    let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, None).await;
    while let Some(message) = next(&mut socket, &mut draining).await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    let close = CloseFrame {
        code: CloseCode::Away,
        reason: "draining".into(),
    };
    socket.close(Some(close)).await?;
    // The peer answers with a close frame of its own.
    while let Some(message) = socket.next().await {
        message?;
    }
    Ok(())
}

/// Returns the next message, or `None` once draining has begun.
async fn next(
    socket: &mut WebSocketStream<Connection>,
    draining: &mut UntilDraining,
) -> Option<Result<Message, Error>> {
    let leaving = async {
        draining.await;
        None
    };
    socket.next().or(leaving).await
}
