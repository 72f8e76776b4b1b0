//! axum on tokio, with its graceful shutdown as its documentation says.

use std::io;

use axum::{Router, routing::get, serve::ListenerExt};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut signals = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let listener = listener.tap_io(|io| {
        let _ = io.set_nodelay(true);
    });
    let app = Router::new().route("/", get(|| async { "hello\n" }));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            signals.recv().await;
        })
        .await
}
