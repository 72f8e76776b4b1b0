//! hyper on smol with hyper-util's graceful module, as its documentation says: stop accepting, drop
//! the listener, ask every connection to end, wait.

use std::{
    convert::Infallible,
    env, io,
    net::{TcpListener, TcpStream},
    time::Duration,
};

use async_signal::{Signal, Signals};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CONTENT_LENGTH, HeaderValue},
    rt::Executor,
    service::service_fn,
};
use hyper_util::server::{conn::auto, graceful::GracefulShutdown};
use smol::{
    Async, Timer, future,
    stream::{self, Stream, StreamExt},
};
use smol_hyper::rt::FuturesIo;

#[derive(Clone)]
struct Global;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Global {
    fn execute(&self, task: F) {
        smol::spawn(task).detach();
    }
}

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

fn full(bytes: impl Into<Bytes>) -> Body {
    let body = Full::new(bytes.into());
    body.map_err(|never| match never {}).boxed_unsync()
}

fn streamed(pieces: impl Stream<Item = &'static [u8]> + Send + 'static) -> Body {
    let frames = pieces.map(|piece| Ok(Frame::data(Bytes::from_static(piece))));
    StreamBody::new(frames).boxed_unsync()
}

/// Echoes on a connection that has left HTTP, which the graceful module doesn't count.
fn tunnel(request: Request<Incoming>) {
    let upgrade = hyper::upgrade::on(request);
    smol::spawn(async move {
        let Ok(upgraded) = upgrade.await else {
            return;
        };
        if let Ok(parts) = auto::upgrade::downcast::<FuturesIo<Async<TcpStream>>>(upgraded) {
            let io = parts.io.into_inner();
            let _ = smol::io::copy(&io, &io).await;
        }
    })
    .detach();
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut parts = path.split('/').skip(1);
    let route = parts.next().unwrap_or_default();
    let mut number = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    let mut response = Response::new(full("hello\n"));
    match route {
        _ if request.method() == Method::CONNECT => {
            *response.body_mut() = full("");
            tunnel(request);
        }
        "sleep" => {
            Timer::after(Duration::from_millis(number())).await;
        }
        "stream" => {
            let (chunks, pause) = (number(), Duration::from_millis(number()));
            let pieces = stream::iter(0..chunks).then(move |_| async move {
                Timer::after(pause).await;
                &b"chunk\n"[..]
            });
            *response.body_mut() = streamed(pieces);
        }
        "bytes" => {
            let length = number();
            let fields = response.headers_mut();
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
            let pieces = stream::unfold(length, |left| async move {
                let now = usize::try_from(left).map_or(PIECE.len(), |left| left.min(PIECE.len()));
                (now > 0).then(|| (&PIECE[..now], left - now as u64))
            });
            *response.body_mut() = streamed(pieces);
        }
        "full" => *response.body_mut() = full(vec![b'x'; usize::try_from(number()).unwrap_or(0)]),
        "echo" => *response.body_mut() = request.into_body().boxed_unsync(),
        "reject" => *response.status_mut() = StatusCode::UNAUTHORIZED,
        _ => {}
    }
    Ok(response)
}

fn main() -> io::Result<()> {
    smol::block_on(async {
        let mut signals = Signals::new([Signal::Term])?;
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
        println!("listening on {}", listener.get_ref().local_addr()?);
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = future::or(async { Some(listener.accept().await) }, async {
                signals.next().await;
                None
            });
            let stream = match accepted.await {
                Some(Ok((stream, _))) => stream,
                Some(Err(_)) => continue,
                None => break,
            };
            let watcher = graceful.watcher();
            smol::spawn(async move {
                let builder = auto::Builder::new(Global);
                let conn = builder
                    .serve_connection_with_upgrades(FuturesIo::new(stream), service_fn(answer));
                let _ = watcher.watch(conn.into_owned()).await;
            })
            .detach();
        }
        drop(listener);
        let grace = env::var("GRACE_MS")
            .ok()
            .and_then(|grace| grace.parse().ok());
        future::or(graceful.shutdown(), async {
            Timer::after(Duration::from_millis(grace.unwrap_or(15_000))).await;
        })
        .await;
        Ok(())
    })
}
