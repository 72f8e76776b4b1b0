//! The routes on http-types, the types of tide and async-h1.

use std::{
    io::{self, Write},
    pin::Pin,
};

use async_drain::{Drain, Readiness};
use futures_lite::{AsyncReadExt, Stream, StreamExt, io::BufReader, stream};
use futures_util::TryStreamExt;
use http_types::{Body, Request, Response, Result, StatusCode, mime};
use smol::Timer;

use testkit::routes::{Route, events::events};

use super::websocket;

pub(crate) async fn answer(
    mut request: Request,
    drain: &Drain,
    readiness: &Readiness,
) -> Result<Response> {
    let mut response = Response::new(StatusCode::Ok);
    match Route::of(request.url().path()) {
        Route::Hello => response.set_body("hello\n"),
        Route::Sleep(pause) => {
            Timer::after(pause).await;
            response.set_body("slept\n");
        }
        Route::Stream(chunks, pause) => {
            response.set_body(streamed(stream::iter(0..chunks).then(
                move |n| async move {
                    Timer::after(pause).await;
                    format!("chunk {n}\n")
                },
            )));
        }
        Route::Bytes(length) => {
            let bytes = BufReader::new(futures_lite::io::repeat(b'x').take(length));
            response.set_body(Body::from_reader(bytes, usize::try_from(length).ok()));
        }
        Route::Full(length) => response.set_body(vec![b'x'; length]),
        Route::Echo => response.set_body(request.take_body()),
        Route::Reject => response.set_status(StatusCode::Unauthorized),
        Route::Panic => panic!("asked to panic"),
        Route::Events(pause) => {
            response.set_body(streamed(events(pause, drain.observer())));
            response.set_content_type(mime::SSE);
        }
        Route::Block(pause) => {
            std::thread::sleep(pause);
            response.set_body("blocked\n");
        }
        Route::Begin => {
            drain.begin();
            response.set_body("begun\n");
        }
        Route::Ready => {
            if !readiness.is_ready() {
                response.set_status(StatusCode::ServiceUnavailable);
                // The prober has learned what it wanted: its connection need not be waited for.
                response.insert_header("connection", "close");
            }
            response.set_body(format!("{readiness}\n"));
        }
        Route::Live => response.set_body("alive\n"),
        Route::WebSocket => response = websocket::upgrade(&request, drain).await,
        Route::Accepted => {
            let status = accept(&mut request, drain);
            response.set_status(status);
        }
        Route::NotFound => response.set_status(StatusCode::NotFound),
    }
    Ok(response)
}

/// Answers an upload before it is read, and reads it in a task of its own, which says on stdout how
/// that ended.
fn accept(request: &mut Request, drain: &Drain) -> StatusCode {
    let Ok(guard) = drain.guard() else {
        return StatusCode::ServiceUnavailable;
    };
    let guard = guard.labeled(format!("the upload of {}", request.url().path()));
    let mut body = request.take_body();
    let read = async move {
        let mut upload = Vec::new();
        let end = body.read_to_end(&mut upload).await;
        let length = upload.len();
        // A closed stdout is not an error of the upload.
        let _ = match end {
            Ok(_) => writeln!(io::stdout(), "an upload of {length} bytes was read"),
            Err(_) => writeln!(io::stdout(), "an upload was cut after {length} bytes"),
        };
    };
    smol::spawn(guard.wrap(read)).detach();
    StatusCode::Accepted
}

fn streamed(chunks: impl Stream<Item = String> + Send + Sync + 'static) -> Body {
    let chunks: Pin<Box<dyn Stream<Item = io::Result<String>> + Send + Sync>> =
        Box::pin(chunks.map(Ok));
    Body::from_reader(chunks.into_async_read(), None)
}
