//! CONNECT, and uploads that are answered before they are read: work that outlives its request,
//! each under a guard of its own.

use std::time::Duration;

use async_drain::{Drain, Guard, hyper::FromHyper};
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Bytes},
    upgrade::Upgraded,
};
use smol::Timer;

use crate::serve::say;

/// How long a tunnel goes on after it has said `bye`.
const AFTER_BYE: Duration = Duration::from_secs(1);

/// Answers CONNECT, over HTTP/1 and HTTP/2, and echoes in a task of its own.
///
/// The tunnel says `bye` when draining begins, and ends a second later.
pub fn connect<B, R: Default>(mut request: Request<B>, drain: &Drain) -> Response<R> {
    let mut response = Response::new(R::default());
    // Before the answer: from then on the connection's own guard is gone.
    let Ok(guard) = drain.admit() else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    };
    let guard = guard.labeled(format!("CONNECT {}", request.uri()));
    let upgrade = hyper::upgrade::on(&mut request);
    let tunnel = async move {
        // A peer that has left in the meantime is not an error of ours.
        if let Ok(upgraded) = upgrade.await {
            let _ = echo(upgraded, &guard).await;
        }
    };
    smol::spawn(drain.run_until_aborting(tunnel)).detach();
    response
}

async fn echo(upgraded: Upgraded, guard: &Guard) -> std::io::Result<()> {
    let mut io = FromHyper::new(upgraded);
    let mut buffer = vec![0; 16 * 1024];
    while let Some(size) = guard.run_until_draining(io.read(&mut buffer)).await {
        let size = size?;
        if size == 0 {
            return io.close().await;
        }
        io.write_all(&buffer[..size]).await?;
    }
    io.write_all(b"bye\n").await?;
    io.flush().await?;
    let mut end = Timer::after(AFTER_BYE);
    loop {
        let read = async { Some(io.read(&mut buffer).await) };
        let read = read.or(async {
            (&mut end).await;
            None
        });
        match read.await.transpose()? {
            Some(size @ 1..) => io.write_all(&buffer[..size]).await?,
            Some(0) | None => return io.close().await,
        }
    }
}

/// Answers an upload before it is read, and reads it in a task of its own, which says on stdout how
/// that ended.
pub fn accept<B, R: Default>(request: Request<B>, drain: &Drain) -> Response<R>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let mut response = Response::new(R::default());
    let Ok(guard) = drain.guard() else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    };
    let guard = guard.labeled(format!("the upload of {}", request.uri().path()));
    let upload = read(request.into_body());
    smol::spawn(guard.wrap(drain.run_until_aborting(upload))).detach();
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

async fn read(body: impl Body<Data = Bytes> + Send) {
    let mut body = std::pin::pin!(body);
    let mut length = 0;
    // Once it has answered, hyper 1.12 doesn't end a body of known length before the connection's
    // next request.
    while !body.is_end_stream() {
        match body.frame().await {
            Some(Ok(frame)) => length += frame.data_ref().map_or(0, Bytes::len),
            None => break,
            Some(Err(_)) => {
                return say(&format!("an upload was cut after {length} bytes"));
            }
        }
    }
    say(&format!("an upload of {length} bytes was read"));
}
