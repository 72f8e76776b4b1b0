//! `Server::new` may run its tasks on any thread, and an `Rc` stays on one.
//~ `Rc<String>` cannot be sent between threads safely

use async_drain::{Drain, hyper::Server};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use std::{convert::Infallible, rc::Rc};

fn main() {
    let drain = Drain::new();
    let server = Server::new(&drain, |task| smol::spawn(task).detach());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = Rc::new("world".to_owned());
    let service = service_fn(move |_: Request<Incoming>| {
        let name = Rc::clone(&name);
        async move { Ok::<_, Infallible>(Response::new(name.to_string())) }
    });
    smol::block_on(server.serve(listener, service)).unwrap();
}
