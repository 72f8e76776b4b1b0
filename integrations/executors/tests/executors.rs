//! The server on executors that it knows nothing of. The sockets and timers are async-io's
//! throughout.

use async_drain::{hyper::Server, net::Connections};
use futures_lite::stream;
use hyper::service::service_fn;

use testkit::scene::{Scene, handler};

#[test]
fn a_server_runs_on_async_std() {
    let (scene, listener) = Scene::new();
    let drain = scene.drain.clone();
    let server = Server::new(&scene.drain, |task| drop(async_std::task::spawn(task)))
        .serve(listener, service_fn(move |r| handler(r, drain.clone())));
    async_std::task::block_on(scene.play(server));
}

/// async-std's own listener, as a stream of connections, is accepted from.
#[test]
fn a_server_runs_on_async_std_with_its_listener() {
    let (scene, listener) = Scene::new();
    let drain = scene.drain.clone();
    let listener = listener.into_inner().expect("the only handle");
    let listener = async_std::net::TcpListener::from(listener);
    let server = Server::new(&scene.drain, |task| drop(async_std::task::spawn(task)));
    async_std::task::block_on(async {
        let incoming = stream::unfold(listener, |listener| async {
            let accepted = listener.accept().await;
            Some((accepted.map(|(conn, _)| conn), listener))
        });
        let service = service_fn(move |r| handler(r, drain.clone()));
        let incoming = Connections::new(Box::pin(incoming));
        scene.play(server.serve(incoming, service)).await;
    });
}

#[test]
fn a_server_runs_on_tokio() {
    let (scene, listener) = Scene::new();
    let drain = scene.drain.clone();
    let server = Server::new(&scene.drain, |task| drop(tokio::spawn(task)))
        .serve(listener, service_fn(move |r| handler(r, drain.clone())));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    runtime.block_on(scene.play(server));
}
