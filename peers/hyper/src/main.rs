//! hyper on smol with hyper-util's graceful module, as its documentation says: stop accepting, drop
//! the listener, ask every connection to end, wait.

use std::{convert::Infallible, io, net::TcpListener, time::Duration};

use async_signal::{Signal, Signals};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    rt::Executor,
    service::service_fn,
};
use hyper_util::server::{conn::auto, graceful::GracefulShutdown};
use smol::{Async, Timer, future, stream::StreamExt};
use smol_hyper::rt::FuturesIo;

#[derive(Clone)]
struct Global;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Global {
    fn execute(&self, task: F) {
        smol::spawn(task).detach();
    }
}

type Body = BoxBody<Bytes, hyper::Error>;

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut parts = path.split('/').skip(1);
    let route = parts.next().unwrap_or_default();
    let number = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    let mut response = Response::new(full("hello\n"));
    match route {
        "sleep" => {
            Timer::after(Duration::from_millis(number)).await;
        }
        "bytes" => *response.body_mut() = full(vec![0; usize::try_from(number).unwrap_or(0)]),
        "echo" => *response.body_mut() = request.into_body().boxed(),
        "reject" => *response.status_mut() = StatusCode::UNAUTHORIZED,
        _ => {}
    }
    Ok(response)
}

fn main() -> io::Result<()> {
    smol::block_on(async {
        let mut signals = Signals::new([Signal::Term])?;
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?;
        println!("listening on {}", listener.get_ref().local_addr()?);
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = future::or(async { Some(listener.accept().await) }, async {
                signals.next().await;
                None
            });
            let stream = match accepted.await {
                Some(Ok((stream, _))) => stream,
                Some(Err(_)) => continue,
                None => break,
            };
            let watcher = graceful.watcher();
            smol::spawn(async move {
                let builder = auto::Builder::new(Global);
                let conn = builder.serve_connection(FuturesIo::new(stream), service_fn(answer));
                let _ = watcher.watch(conn.into_owned()).await;
            })
            .detach();
        }
        drop(listener);
        future::or(graceful.shutdown(), async {
            Timer::after(Duration::from_secs(15)).await;
        })
        .await;
        Ok(())
    })
}
