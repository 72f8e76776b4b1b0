//! `DrainLayer`, polled by hand.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use async_drain::{
    Drain,
    tower::{DrainLayer, DrainService},
};
use futures_lite::future::block_on;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, StatusCode, Version,
    body::{Body, Bytes},
    header::CONNECTION,
};
use tower_layer::Layer;
use tower_service::Service;

/// Answers with this status.
#[derive(Clone)]
struct Answering(StatusCode);

impl Service<Request<()>> for Answering {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let mut response = Response::new(Full::from("hello"));
        *response.status_mut() = self.0;
        ready(Ok(response))
    }
}

fn service(drain: &Drain) -> DrainService<Answering> {
    DrainLayer::new(drain).layer(Answering(StatusCode::OK))
}

fn request(version: Version) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = "/export?year=1999".parse().expect("a path");
    *request.version_mut() = version;
    request
}

/// Returns whether the answer tells the peer to leave.
fn closes<S, B>(mut service: S, version: Version) -> bool
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let response = block_on(service.call(request(version))).expect("it does not fail");
    response
        .headers()
        .get(CONNECTION)
        .is_some_and(|value| value == "close")
}

#[test]
fn a_request_counts_from_its_call_to_the_last_of_its_body() {
    let drain = Drain::new();
    let response = service(&drain).call(request(Version::HTTP_11));
    assert_eq!(drain.in_flight(), 1);
    let response = block_on(response).expect("it does not fail");
    assert_eq!(drain.in_flight(), 1);
    let body = response.into_body();
    assert_eq!(body.size_hint().exact(), Some(5));
    assert!(!body.is_end_stream());
    let body = block_on(body.collect()).expect("it does not fail");
    assert_eq!(
        (drain.in_flight(), body.to_bytes().as_ref()),
        (0, &b"hello"[..])
    );
}

/// A cancelled request gives its guard back, at each stage.
#[test]
fn a_request_that_is_dropped_gives_its_guard_back() {
    let drain = Drain::new();
    drop(service(&drain).call(request(Version::HTTP_11)));
    assert_eq!(drain.in_flight(), 0);
    drop(block_on(service(&drain).call(request(Version::HTTP_11))));
    assert_eq!(drain.in_flight(), 0);
}

#[test]
fn a_tracked_request_is_named_by_method_and_path_and_placed_at_the_layer() {
    let drain = Drain::tracked();
    let mut service = service(&drain);
    let _response = service.call(request(Version::HTTP_11));
    let stragglers = drain.stragglers();
    let straggler = stragglers.iter().next().expect("one request");
    assert_eq!(straggler.label.as_deref(), Some("GET /export"));
    assert_eq!(straggler.place.file(), file!());
}

/// Z3
#[test]
fn answers_close_from_lame_duck_on_but_for_http2_and_upgrades() {
    let drain = Drain::new();
    let service = service(&drain);
    assert!(!closes(service.clone(), Version::HTTP_11));
    drain.enter_lame_duck();
    assert!(closes(service.clone(), Version::HTTP_11));
    assert!(closes(service.clone(), Version::HTTP_10));
    assert!(!closes(service, Version::HTTP_2));
    let upgrade = DrainLayer::new(&drain).layer(Answering(StatusCode::SWITCHING_PROTOCOLS));
    assert!(!closes(upgrade, Version::HTTP_11));
}

/// S3: a drained drain has no more guards, but a request that was accepted is still answered.
#[test]
fn a_drained_layer_still_serves() {
    let drain = Drain::new();
    let service = service(&drain);
    drain.begin();
    drain.until_drained().wait();
    assert!(closes(service, Version::HTTP_11));
    assert_eq!(drain.in_flight(), 0);
}

/// The last handle's drop begins the drain, even if a router lives on.
#[test]
fn a_layer_does_not_keep_its_drain_running() {
    let drain = Drain::new();
    let draining = drain.until_draining();
    let service = service(&drain);
    drop(drain);
    draining.wait();
    assert!(closes(service, Version::HTTP_11));
}
