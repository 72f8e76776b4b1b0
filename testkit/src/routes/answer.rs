//! The routes on hyper.

use std::{
    convert::Infallible,
    io::{self, Write},
};

use async_drain::{Drain, Observer};
use futures_lite::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Frame},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};
use smol::Timer;

use super::{Route, events::events, tunnel, websocket};

/// A server that goes away: what a WebSocket is closed with, unless the settings say otherwise.
const AWAY: u16 = 1001;

pub type AnswerBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Answers all routes, CONNECT among them.
pub async fn answer<B>(
    request: Request<B>,
    drain: &Drain,
) -> Result<Response<AnswerBody>, Infallible>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if request.method() == Method::CONNECT {
        return Ok(tunnel::connect(request, drain).map(|()| empty()));
    }
    let mut response = Response::new(empty());
    match Route::of(request.uri().path()) {
        Route::Hello => *response.body_mut() = text("hello\n"),
        Route::Sleep(pause) => {
            Timer::after(pause).await;
            *response.body_mut() = text("slept\n");
        }
        Route::Stream(chunks, pause) => {
            *response.body_mut() = streamed(stream::iter(0..chunks).then(move |n| async move {
                Timer::after(pause).await;
                format!("chunk {n}\n")
            }));
        }
        Route::Bytes(length) => {
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
            *response.body_mut() = streamed(bytes(length));
        }
        Route::Full(length) => *response.body_mut() = full(vec![b'x'; length]),
        Route::Echo => {
            *response.body_mut() = request.into_body().map_err(Into::into).boxed_unsync();
        }
        Route::Reject => *response.status_mut() = StatusCode::UNAUTHORIZED,
        Route::Accepted => return Ok(tunnel::accept(request, drain).map(|()| empty())),
        Route::Panic => panic!("asked to panic"),
        Route::Events(pause) => {
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            *response.body_mut() = streamed(events(pause, connection(&request, drain)));
        }
        Route::Block(pause) => {
            // Unlike `eprintln!`, this does not panic if stderr is closed.
            let _ = writeln!(io::stderr(), "blocking");
            std::thread::sleep(pause);
            *response.body_mut() = text("blocked\n");
        }
        Route::Begin => {
            drain.begin();
            *response.body_mut() = text("begun\n");
        }
        Route::WebSocket => return Ok(websocket::upgrade(request, drain, AWAY).map(|()| empty())),
        // `Probes` has answered these, where it is there.
        Route::Ready | Route::Live | Route::NotFound => {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
    }
    Ok(response)
}

/// Returns the drain of the request's connection, which also begins with the connection's age if
/// that is limited.
pub(super) fn connection<B>(request: &Request<B>, drain: &Drain) -> Observer {
    let connection = request.extensions().get().cloned();
    connection.unwrap_or_else(|| drain.observer())
}

fn bytes(length: u64) -> impl Stream<Item = &'static [u8]> {
    static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    stream::unfold(length, |left| async move {
        let now = usize::try_from(left).map_or(CHUNK.len(), |left| left.min(CHUNK.len()));
        (now > 0).then(|| (&CHUNK[..now], left - now as u64))
    })
}

fn streamed<T: Into<Bytes>>(chunks: impl Stream<Item = T> + Send + 'static) -> AnswerBody {
    let frames = chunks.map(|chunk| Ok::<_, io::Error>(Frame::data(chunk.into())));
    StreamBody::new(frames).map_err(Into::into).boxed_unsync()
}

fn text(text: &'static str) -> AnswerBody {
    full(text.as_bytes())
}

fn full(bytes: impl Into<Bytes>) -> AnswerBody {
    let body = Full::new(bytes.into());
    body.map_err(|never| match never {}).boxed_unsync()
}

fn empty() -> AnswerBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
