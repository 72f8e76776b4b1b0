//! Heads and trailers that async-h1 can't read.

use async_drain::Drain;
use futures_lite::future::{self, block_on};
use http_types::{Request, Response};

use crate::scene::Scene;

/// Z11: http-types has no header values but ASCII, and would panic.
#[test]
fn a_header_value_that_is_not_ascii_gets_a_400() {
    for value in ["\u{e9}", "an \u{e9}\r\nx: \u{e9}"] {
        let drain = Drain::tracked();
        let scene = Scene::open(&drain, |_| async { Ok(Response::new(200)) });
        drain.begin();
        scene.send(&format!(
            "GET / HTTP/1.1\r\nhost: test\r\nx: {value}\r\n\r\n"
        ));
        let answer = scene.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        block_on(scene.executor.run(drain.until_drained()));
        let report = block_on(drain.finish(future::pending::<()>()));
        assert_eq!(report.stragglers().total(), 0);
    }
}

/// A request line may have such bytes: they belong to the path.
#[test]
fn a_path_that_is_not_ascii_is_served() {
    let drain = Drain::new();
    let scene = Scene::open(&drain, |request: Request| async move {
        assert_eq!(request.url().path(), "/%C3%A9");
        Ok(Response::new(200))
    });
    for _ in 0..2 {
        scene.send("GET /\u{e9} HTTP/1.1\r\nhost: test\r\n\r\n");
        assert!(scene.read_head().starts_with("HTTP/1.1 200 "));
    }
}

/// Z11: trailers that http-types can't hold are discarded, and the upload is whole.
#[test]
fn trailers_that_are_not_ascii_are_discarded() {
    let drain = Drain::new();
    let scene = Scene::open(&drain, |mut request: Request| async move {
        assert_eq!(request.body_string().await?, "hello");
        Ok(Response::new(200))
    });
    for _ in 0..2 {
        scene.send(
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\na: b\r\nx: \u{e9}\r\n\r\n",
        );
        assert!(scene.read_head().starts_with("HTTP/1.1 200 "));
    }
}
