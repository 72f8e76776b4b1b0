//! An axum `Router` is a service of tower, not of hyper.
//~ the server can't call `Router`
//~ hyper_util::service::TowerToHyperService::new(router)

use async_drain::{Drain, hyper::Server};

fn main() {
    let drain = Drain::new();
    let server = Server::new(&drain, |task| smol::spawn(task).detach());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    smol::block_on(server.serve(listener, axum::Router::<()>::new())).unwrap();
}
