//! A handshake returns a future.
//~ `{integer}` is not a handshake
//~ give `handshake` a closure from the accepted connection to a future

use async_drain::{Drain, hyper::Server};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use std::convert::Infallible;

fn main() {
    let drain = Drain::new();
    let server = Server::new(&drain, |task| smol::spawn(task).detach());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let service =
        service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(String::new())));
    smol::block_on(server.handshake(5).serve(listener, service)).unwrap();
}
