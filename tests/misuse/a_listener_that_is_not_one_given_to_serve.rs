//! An address is not a listener.
//~ connections can't be accepted from `&str`
//~ use a TCP or Unix listener of std, async-io or smol

use async_drain::{Drain, hyper::Server};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use std::convert::Infallible;

fn main() {
    let drain = Drain::new();
    let server = Server::new(&drain, |task| smol::spawn(task).detach());
    let service =
        service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(String::new())));
    smol::block_on(server.serve("127.0.0.1:8080", service)).unwrap();
}
