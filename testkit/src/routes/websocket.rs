//! `/ws`: a WebSocket that echoes, and says good-bye when draining begins (Z6).

use std::time::Duration;

use async_drain::{Drain, Guard, hyper::FromHyper};
use async_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};
use futures_lite::{FutureExt, StreamExt};
use hyper::{
    Request, Response, StatusCode,
    header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
    upgrade::{OnUpgrade, Upgraded},
};
use smol::Timer;

use super::answer::connection;

/// How long a peer has to answer our good-bye.
const CLOSE: Duration = Duration::from_secs(2);

/// Answers the upgrade, and echoes in a task of its own, which ends with the close code `code`.
pub fn upgrade<B, R: Default>(mut request: Request<B>, drain: &Drain, code: u16) -> Response<R> {
    let mut response = Response::new(R::default());
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accept = derive_accept_key(key.as_bytes());
    // Before the answer: from then on the connection's own guard is gone.
    let admitted = drain.admit().map(|_| connection(&request, drain).guard());
    let Ok(Ok(guard)) = admitted else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    };
    let session = session(
        hyper::upgrade::on(&mut request),
        guard.labeled("WebSocket"),
        code.into(),
    );
    smol::spawn(drain.run_until_aborting(session)).detach();

    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = accept.try_into() {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

async fn session(upgrade: OnUpgrade, guard: Guard, code: CloseCode) {
    // A peer that has left by now is not our error.
    if let Ok(upgraded) = upgrade.await {
        let _ = echo(upgraded, &guard, code).await;
    }
}

async fn echo(upgraded: Upgraded, guard: &Guard, code: CloseCode) -> Result<(), Error> {
    let io = FromHyper::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Some(message)) = guard.run_until_draining(socket.next()).await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    if !guard.is_draining() {
        return Ok(());
    }
    let good_bye = CloseFrame {
        code,
        reason: "draining".into(),
    };
    socket.close(Some(good_bye)).await?;
    let answered = async { while let Some(Ok(_)) = socket.next().await {} };
    let late = async {
        Timer::after(CLOSE).await;
    };
    answered.or(late).await;
    Ok(())
}
