//! A server with testkit's routes, without the drain's adapter: what that is to be as fast as. It
//! knows no way to stop.

use std::{io, net::TcpListener};

use async_drain::Drain;
use hyper::{rt::Executor, service::service_fn};
use hyper_util::server::conn::auto;
use smol::Async;
use smol_hyper::rt::FuturesIo;
use testkit::{
    routes::{Route, answer::answer, websocket},
    serve,
    settings::Settings,
};

#[derive(Clone)]
struct Global;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Global {
    fn execute(&self, task: F) {
        smol::spawn(task).detach();
    }
}

fn main() -> io::Result<()> {
    let settings = Settings::from_env().map_err(io::Error::other)?;
    smol::block_on(async {
        let listener = Async::<TcpListener>::bind(settings.addr)?;
        serve::announce(listener.get_ref().local_addr()?);
        // The handler asks for one; nothing counts on it.
        let drain = Drain::tracked();
        let code = settings.ws_close_code;
        let service = service_fn(move |request| {
            let drain = drain.clone();
            async move {
                match Route::of(request.uri().path()) {
                    Route::WebSocket => Ok(websocket::upgrade(request, &drain, code)),
                    _ => answer(request, &drain).await,
                }
            }
        });
        let mut builder = auto::Builder::new(Global);
        builder.http1().half_close(true);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            let conn =
                builder.serve_connection_with_upgrades(FuturesIo::new(stream), service.clone());
            let conn = conn.into_owned();
            smol::spawn(async move {
                // A connection that fails concerns its peer alone.
                let _ = conn.await;
            })
            .detach();
        }
    })
}
