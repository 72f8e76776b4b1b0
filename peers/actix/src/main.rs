//! actix-web, which handles SIGTERM by itself, within `shutdown_timeout`.

use std::{convert::Infallible, env, io, time::Duration};

use actix_web::{
    App, HttpResponse, HttpServer,
    body::SizedStream,
    http::KeepAlive,
    web::{Bytes, Path, PayloadConfig, get, post},
};
use futures_util::stream;
use tokio::time::sleep;

static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

async fn chunks(path: Path<(usize, u64)>) -> HttpResponse {
    let (chunks, pause) = path.into_inner();
    HttpResponse::Ok().streaming(stream::unfold(chunks, move |left| async move {
        sleep(Duration::from_millis(pause)).await;
        (left > 0).then(|| {
            (
                Ok::<_, Infallible>(Bytes::from_static(b"chunk\n")),
                left - 1,
            )
        })
    }))
}

async fn bytes(path: Path<usize>) -> HttpResponse {
    let length = path.into_inner();
    let pieces = stream::unfold(length, |left| async move {
        let now = left.min(PIECE.len());
        let piece = Ok::<_, Infallible>(Bytes::from_static(&PIECE[..now]));
        (now > 0).then(|| (piece, left - now))
    });
    HttpResponse::Ok().body(SizedStream::new(length as u64, Box::pin(pieces)))
}

fn millis(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[actix_web::main]
async fn main() -> io::Result<()> {
    let server = HttpServer::new(|| {
        App::new()
            .app_data(PayloadConfig::new(1 << 20))
            .route("/", get().to(async || "hello\n"))
            .route("/stream/{chunks}/{pause}", get().to(chunks))
            .route("/bytes/{length}", get().to(bytes))
            .route(
                "/full/{length}",
                get().to(async |length: Path<usize>| vec![b'x'; *length]),
            )
            .route("/echo", post().to(async |body: Bytes| body))
    })
    .shutdown_timeout(millis("GRACE_MS").unwrap_or(15_000) / 1000);
    let server = match millis("IDLE_MS") {
        Some(limit) => server.keep_alive(KeepAlive::Timeout(Duration::from_millis(limit))),
        None => server,
    };
    let server = server.bind_auto_h2c("127.0.0.1:0")?;
    println!("listening on {}", server.addrs()[0]);
    server.run().await
}
