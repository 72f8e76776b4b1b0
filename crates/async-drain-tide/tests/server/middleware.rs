//! The middleware without a server.

use async_drain::Drain;
use async_drain_tide::DrainMiddleware;
use futures_lite::{AsyncReadExt, future::block_on, io};
use tide::http::{Method, Request, Response, Url};

fn app(drain: &Drain) -> tide::Server<()> {
    let mut app = tide::new();
    app.with(DrainMiddleware::new(drain));
    app.at("/").get(|_| async {
        let body = tide::Body::from_reader(io::Cursor::new("hello"), Some(5));
        Ok(tide::Response::builder(200).body(body).build())
    });
    app.at("/json")
        .get(|_| async { tide::Body::from_json(&"hello") });
    app
}

fn get(app: &tide::Server<()>, path: &str) -> Response {
    let url = Url::parse(&format!("http://test{path}")).expect("a url");
    block_on(app.respond(Request::new(Method::Get, url))).expect("a response")
}

/// The guard of a request lives until its answer's body is dropped.
#[test]
fn a_request_is_in_flight_until_its_body_is_dropped() {
    let drain = Drain::tracked();
    let app = app(&drain);
    let mut response = get(&app, "/");
    let stragglers = drain.stragglers();
    assert_eq!(stragglers.total(), 1);
    let label = stragglers.iter().next().and_then(|one| one.label.clone());
    assert_eq!(label.as_deref(), Some("GET /"));

    let mut body = response.take_body();
    assert_eq!(body.len(), Some(5));
    let mut text = String::new();
    block_on(body.read_to_string(&mut text)).expect("a body");
    assert_eq!(text, "hello");
    drop(body);
    assert_eq!(drain.in_flight(), 0);
}

#[test]
fn the_media_type_of_a_body_is_kept() {
    let drain = Drain::new();
    let response = get(&app(&drain), "/json");
    assert_eq!(response.header("content-type").unwrap(), "application/json");
}

/// Z3: answers say `close` from lame duck on, even if the drain is drained.
#[test]
fn answers_say_close_from_lame_duck_on() {
    let drain = Drain::new();
    let app = app(&drain);
    assert!(get(&app, "/").header("connection").is_none());
    drain.enter_lame_duck();
    assert_eq!(get(&app, "/").header("connection").unwrap(), "close");
    drain.begin();
    drain.until_drained().wait();
    assert_eq!(get(&app, "/").header("connection").unwrap(), "close");
}
