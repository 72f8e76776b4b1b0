//! Each connection has a clone of the service.
//~ the server can't call `Hello`
//~ not a service of hyper's that is `Clone` and `'static`
//~ derive `Clone` for it

use async_drain::{Drain, hyper::Server};
use hyper::{Request, Response, body::Incoming, service::Service};
use std::{convert::Infallible, future::Ready};

struct Hello;

impl Service<Request<Incoming>> for Hello {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn call(&self, _: Request<Incoming>) -> Self::Future {
        std::future::ready(Ok(Response::new("hello".into())))
    }
}

fn main() {
    let drain = Drain::new();
    let server = Server::new(&drain, |task| smol::spawn(task).detach());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    smol::block_on(server.serve(listener, Hello)).unwrap();
}
