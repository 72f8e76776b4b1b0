//! The server `bare` with the drain's adapter. With `BOXED=1` it is what `Server::new` makes, which
//! boxes each task.

use std::{env, io, net::TcpListener};

use async_drain::{Drain, hyper::Server};
use hyper::{rt::Executor, service::service_fn};
use smol::Async;
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
        let drain = Drain::tracked();
        let code = settings.ws_close_code;
        let handlers = drain.clone();
        let service = service_fn(move |request| {
            let drain = handlers.clone();
            async move {
                match Route::of(request.uri().path()) {
                    Route::WebSocket => Ok(websocket::upgrade(request, &drain, code)),
                    _ => answer(request, &drain).await,
                }
            }
        });
        if env::var_os("BOXED").is_some() {
            let server = Server::new(&drain, |task| smol::spawn(task).detach());
            server.serve(listener, service).await?;
        } else {
            let server = Server::with_executor(&drain, Global);
            server.serve(listener, service).await?;
        }
        Ok(())
    })
}
