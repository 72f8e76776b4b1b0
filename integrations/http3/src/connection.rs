//! A connection: its requests, the two GOAWAYs, and its close.

use std::time::Duration;

use async_drain::Drain;
use bytes::Bytes;
use futures_lite::future::or;
use h3::server::{Connection, RequestResolver};
use http_body_util::{BodyExt, Empty};
use quinn::Incoming;
use smol::Timer;

use testkit::routes::answer::answer;

use crate::AnyError;

/// Serves one connection until it is closed.
pub(crate) async fn serve(
    incoming: Incoming,
    drain: Drain,
    grace: Duration,
) -> Result<(), AnyError> {
    // QUIC's own idle timeout, and the abort, end a handshake that stalls.
    let quic = incoming.await?;
    let mut h3 = Connection::<_, Bytes>::new(h3_quinn::Connection::new(quic.clone())).await?;
    // The requests of this connection, to know when the last has ended.
    let requests = Drain::with_shards(1, false);
    let begin = |request| -> Result<(), AnyError> {
        let guard = requests.guard()?;
        let served = respond(request, drain.clone());
        smol::spawn(guard.wrap(drain.run_until_aborting(served))).detach();
        Ok(())
    };

    while let Some(request) = drain.run_until_draining(h3.accept()).await {
        match request? {
            Some(request) => begin(request)?,
            None => return Ok(()),
        }
    }
    // Requests that the peer sent before it reads this are served, ...
    h3.shutdown(1024).await?;
    let late = async {
        while let Ok(Some(request)) = h3.accept().await {
            if begin(request).is_err() {
                break;
            }
        }
    };
    or(late, pause(grace)).await;
    // ... and later ones are not.
    h3.shutdown(0).await?;
    requests.begin();
    let rest = async { while let Ok(Some(_)) = h3.accept().await {} };
    or(rest, requests.until_drained()).await;
    let closed = async {
        quic.closed().await;
    };
    or(closed, pause(grace)).await;
    Ok(())
}

async fn pause(duration: Duration) {
    Timer::after(duration).await;
}

async fn respond(
    request: RequestResolver<h3_quinn::Connection, Bytes>,
    drain: Drain,
) -> Result<(), AnyError> {
    let (request, mut stream) = request.resolve_request().await?;
    let request = request.map(|()| Empty::<Bytes>::new());
    let (head, mut body) = answer(request, &drain).await?.into_parts();
    stream
        .send_response(hyper::Response::from_parts(head, ()))
        .await?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            stream.send_data(data).await?;
        }
    }
    Ok(stream.finish().await?)
}
