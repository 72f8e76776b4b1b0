//! Uploads that are answered before they have been read.

use async_drain::Drain;
use futures_lite::{AsyncReadExt, future::block_on};
use http_types::{Request, Response};
use smol::channel;

use crate::scene::Scene;

/// Z5: a task that has read its upload may keep the request: the next upload on the connection is
/// left to its own task.
#[test]
fn a_request_that_is_kept_does_not_cut_the_next_upload() {
    let drain = Drain::new();
    let (sender, receiver) = channel::bounded(1);
    let scene = Scene::open(&drain, move |request: Request| {
        let sender = sender.clone();
        async move {
            sender.send(request).await.expect("a receiver");
            Ok(Response::new(202))
        }
    });
    let accepted = |begin: &str| {
        let head = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n";
        scene.request(&format!("{head}{begin}"));
        assert!(scene.read_head().starts_with("HTTP/1.1 202 "));
        receiver.try_recv().expect("a request")
    };
    let read = |request: &mut Request| {
        let mut upload = Vec::new();
        let reading = scene.executor.run(request.read_to_end(&mut upload));
        block_on(reading).expect("an upload");
        upload
    };
    let mut first = accepted("helloworld");
    assert_eq!(read(&mut first), b"helloworld");
    let mut second = accepted("hello");
    drop(first);
    while scene.executor.try_tick() {}
    scene.send("world");
    assert_eq!(read(&mut second), b"helloworld");
}
