//! The routes on trillium.

use std::time::{Duration, Instant};

use async_drain::{Drain, Phase, Readiness};
use futures_lite::{AsyncWriteExt, Stream, StreamExt, io, stream};
use smol::Timer;
use testkit::routes::Route;
use trillium::{Body, Conn, KnownHeaderName::Connection};

/// Adds `close`: trillium says it by itself, but not in lame duck, nor before the bridge has been
/// polled.
pub(crate) async fn answer(conn: Conn, drain: Drain, readiness: Readiness) -> Conn {
    let conn = route(conn, &drain, &readiness).await;
    if drain.phase() > Phase::Running {
        conn.with_response_header(Connection, "close")
    } else {
        conn
    }
}

async fn route(mut conn: Conn, drain: &Drain, readiness: &Readiness) -> Conn {
    match Route::of(conn.path()) {
        Route::Hello => conn.ok("hello\n"),
        Route::Sleep(pause) => {
            Timer::after(pause).await;
            conn.ok("slept\n")
        }
        Route::Stream(chunks, pause) => conn.ok(streamed(stream::iter(0..chunks).then(
            move |n| async move {
                Timer::after(pause).await;
                format!("chunk {n}\n")
            },
        ))),
        Route::Bytes(length) => {
            let bytes = io::AsyncReadExt::take(io::repeat(b'x'), length);
            conn.ok(Body::new_streaming(bytes, Some(length)))
        }
        Route::Full(length) => conn.ok(vec![b'x'; length]),
        Route::Echo => match conn.request_body_string().await {
            Ok(body) => conn.ok(body),
            Err(_) => conn.with_status(400).halt(),
        },
        Route::Reject => conn.with_status(401).halt(),
        Route::Panic => panic!("asked to panic"),
        Route::Events(pause) => conn.ok(streamed(events(pause, drain))),
        Route::Block(pause) => {
            std::thread::sleep(pause);
            conn.ok("blocked\n")
        }
        Route::Begin => {
            drain.begin();
            conn.ok("begun\n")
        }
        Route::Ready if readiness.is_ready() => conn.ok("ready\n"),
        Route::Ready => {
            let why = format!("{readiness}\n");
            conn.with_status(503).with_body(why).halt()
        }
        Route::Live => conn.ok("alive\n"),
        Route::Accepted | Route::WebSocket => conn.with_status(501).halt(),
        Route::NotFound => conn.with_status(404).halt(),
    }
}

fn events(pause: Duration, drain: &Drain) -> impl Stream<Item = String> + Send + use<> {
    let ticks = stream::repeat("data: tick\n\n").then(move |tick| async move {
        Timer::after(pause).await;
        tick.to_owned()
    });
    // A clone would keep the drain running.
    let until = drain.observer();
    until
        .run_until_draining(ticks)
        .chain(stream::once_future(async move {
            let left = until
                .deadline()
                .map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.map_or("never".to_owned(), |left| left.as_millis().to_string());
            format!("event: leaving\ndata: {left}\n\n")
        }))
}

fn streamed(chunks: impl Stream<Item = String> + Send + 'static) -> Body {
    let (reader, mut writer) = piper::pipe(16 * 1024);
    smol::spawn(async move {
        let mut chunks = Box::pin(chunks);
        while let Some(chunk) = chunks.next().await {
            // The peer has gone.
            if writer.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .detach();
    Body::new_streaming(reader, None)
}
