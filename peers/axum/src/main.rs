//! axum on tokio, with its graceful shutdown as its documentation says.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request},
    http::{Method, header::CONTENT_LENGTH},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use futures_util::stream::{self, Stream};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{copy, split},
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

fn streamed(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    use futures_util::StreamExt;
    Body::from_stream(pieces.map(Ok::<_, Infallible>))
}

async fn chunks(Path((chunks, pause)): Path<(usize, u64)>) -> Body {
    streamed(stream::unfold(chunks, move |left| async move {
        sleep(Duration::from_millis(pause)).await;
        (left > 0).then(|| (Bytes::from_static(b"chunk\n"), left - 1))
    }))
}

async fn bytes(Path(length): Path<usize>) -> impl IntoResponse {
    let pieces = stream::unfold(length, |left| async move {
        let now = left.min(PIECE.len());
        (now > 0).then(|| (Bytes::from_static(&PIECE[..now]), left - now))
    });
    ([(CONTENT_LENGTH, length.to_string())], streamed(pieces))
}

/// Answers CONNECT, which has no path that a route could name.
async fn connect(request: Request) -> Response {
    if request.method() == Method::CONNECT {
        tokio::spawn(async move {
            if let Ok(upgraded) = hyper::upgrade::on(request).await {
                let (mut reader, mut writer) = split(TokioIo::new(upgraded));
                let _ = copy(&mut reader, &mut writer).await;
            }
        });
    }
    ().into_response()
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut signals = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let listener = listener.tap_io(|io| {
        let _ = io.set_nodelay(true);
    });
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/stream/{chunks}/{pause}", get(chunks))
        .route("/bytes/{length}", get(bytes))
        .route(
            "/full/{length}",
            get(|Path(length): Path<usize>| async move { vec![b'x'; length] }),
        )
        .route(
            "/echo",
            post(|request: Request| async { request.into_body() }),
        )
        .fallback(connect);
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            signals.recv().await;
        })
        .await
}
