//! Reads its configuration anew on SIGHUP, without a new process: each generation has a child of
//! the drain. Its connections finish with the configuration that they began with, and their peers
//! come back to the next generation. The listener belongs to the process, so no peer notices more.
//!
//! Run with: `cargo run --example reload`, and `curl localhost:8080`. Then `kill -HUP` it, and end
//! it by Ctrl-C.

use std::{
    convert::Infallible, env, error::Error, io, net::TcpListener, sync::Arc, time::Duration,
};

use async_drain::{Drain, Report, Shutdown, hyper::Activity, net::Connection, signal};
use futures_lite::{StreamExt, future::or};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use smol::Async;

/// How long the requests of a generation may go on after the next one has begun.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(GRACE);
    let reloads = signal::catch([signal::Signal::Hup])?;
    let listener = Async::new(TcpListener::bind(addr)?)?;
    println!("listening on {}", listener.get_ref().local_addr()?);
    Ok(smol::block_on(
        shutdown.run(serve(&drain, listener, reloads)),
    ))
}

async fn serve(
    drain: &Drain,
    listener: Async<TcpListener>,
    mut reloads: signal::Signals,
) -> io::Result<()> {
    enum Event<C> {
        Connection(C),
        Reload,
    }
    let mut incoming = drain.accept(listener);
    let mut current = Generation::new(drain, 1);
    loop {
        let connection = async { Event::Connection(incoming.next().await) };
        let reload = async {
            reloads.next().await;
            Event::Reload
        };
        match or(reload, connection).await {
            Event::Reload => {
                let next = Generation::new(drain, current.number + 1);
                std::mem::replace(&mut current, next).end();
            }
            Event::Connection(Some(connection)) => current.serve(connection?),
            Event::Connection(None) => return Ok(()),
        }
    }
}

/// What one reading of the configuration serves.
struct Generation {
    number: u32,
    drain: Drain,
    /// Stands for the configuration.
    greeting: Arc<str>,
}

impl Generation {
    fn new(drain: &Drain, number: u32) -> Self {
        println!("generation {number}");
        Self {
            number,
            drain: drain.child(),
            greeting: format!("hello from generation {number}\n").into(),
        }
    }

    fn serve(&self, connection: Connection<Async<std::net::TcpStream>>) {
        let activity = Activity::new(&self.drain);
        let greeting = Arc::clone(&self.greeting);
        let service = service_fn(move |_: Request<Incoming>| {
            let greeting = greeting.to_string();
            async move { Ok::<_, Infallible>(Response::new(greeting)) }
        });
        let conn = http1::Builder::new()
            .serve_connection(activity.io(connection.io), activity.service(service));
        let watch = self.drain.watch(conn).activity(activity);
        // The watch has taken a guard of its own.
        drop(connection.guard);
        smol::spawn(watch).detach();
    }

    /// Lets the connections finish: idle ones may send one more request, which is told to close.
    fn end(self) {
        self.drain.begin();
        smol::spawn(async move {
            let report = self.drain.finish_within(GRACE).await;
            println!("generation {} has ended: {report}", self.number);
        })
        .detach();
    }
}
