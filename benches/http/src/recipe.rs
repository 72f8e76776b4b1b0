//! The recipe that looks once a second: the accept loop looks whether a signal has come, and who waits for the end looks
//! whether a connection is left, for at most `GRACE_MS`.

use std::{
    io,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_drain::{Drain, signal};
use hyper::{server::conn::http1, service::service_fn};
use smol::{Async, Timer, future, stream::StreamExt};
use smol_hyper::rt::FuturesIo;
use testkit::{routes::answer::answer, serve, settings::Settings};

const SECOND: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    let settings = Settings::from_env().map_err(io::Error::other)?;
    smol::block_on(async {
        let mut signals = signal::termination()?;
        let told = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&told);
        smol::spawn(async move {
            signals.next().await;
            tell.store(true, Ordering::Relaxed);
        })
        .detach();

        let listener = Async::<TcpListener>::bind(settings.addr)?;
        serve::announce(listener.get_ref().local_addr()?);
        let connections = Arc::new(());
        let mut tick = Timer::interval(SECOND);
        loop {
            let accepted = future::or(async { Some(listener.accept().await) }, async {
                tick.next().await;
                None
            });
            match accepted.await {
                Some(Ok((stream, _))) => {
                    let connection = Arc::clone(&connections);
                    let service = service_fn(async |request| answer(request, &Drain::new()).await);
                    smol::spawn(async move {
                        let conn =
                            http1::Builder::new().serve_connection(FuturesIo::new(stream), service);
                        let _ = conn.await;
                        drop(connection);
                    })
                    .detach();
                }
                None if told.load(Ordering::Relaxed) => break,
                Some(Err(_)) | None => {}
            }
        }
        drop(listener);
        let mut left = settings.grace;
        while Arc::strong_count(&connections) > 1 && !left.is_zero() {
            Timer::after(SECOND.min(left)).await;
            left = left.saturating_sub(SECOND);
        }
        Ok(())
    })
}
