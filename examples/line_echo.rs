//! An accept loop for a protocol of one's own, on a bare `LocalExecutor`: each line comes back, and
//! when draining begins each peer gets its answer to every whole line that it has sent, then `bye`.
//!
//! Run with: `cargo run --example line_echo`, then `nc localhost 8080`, and Ctrl-C.

use std::{
    env,
    error::Error,
    io,
    net::{TcpListener, TcpStream},
    time::Duration,
};

use async_drain::{
    Drain, Report, Shutdown,
    net::{Connection, Incoming, Linger},
    signal,
};
use async_executor::LocalExecutor;
use futures_lite::{AsyncBufReadExt, AsyncWriteExt, StreamExt, future::block_on, io::BufReader};
use smol::Async;

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(10));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let executor = LocalExecutor::new();
    let server = accept(&executor, drain.accept(Async::new(listener)?));
    Ok(block_on(executor.run(shutdown.run(server))))
}

async fn accept(
    executor: &LocalExecutor<'_>,
    mut incoming: Incoming<Async<TcpListener>>,
) -> io::Result<()> {
    while let Some(connection) = incoming.next().await {
        let Connection {
            io, guard, peer, ..
        } = connection?;
        let guard = match peer {
            Some(peer) => guard.labeled(peer.to_string()),
            None => guard,
        };
        // The task owns the guard, and ends when aborting begins.
        let task = echo(io, guard.until_draining());
        let task = guard.run_until_aborting(task);
        executor.spawn(guard.wrap(task)).detach();
    }
    Ok(())
}

type Peer = Linger<Async<TcpStream>>;

/// Ends when the peer leaves, or once draining has begun and every line that was sent is answered.
async fn echo(io: Peer, draining: impl Future) -> io::Result<()> {
    let mut io = BufReader::new(io);
    let mut line = String::new();
    let mut draining = std::pin::pin!(draining);
    loop {
        let read = async { Some(io.read_line(&mut line).await) };
        // Lines that have arrived are read first; only then is there nothing left to do.
        let read = futures_lite::future::or(read, async {
            draining.as_mut().await;
            None
        });
        match read.await.transpose()? {
            Some(0) => break,
            Some(_) => {
                let answer = std::mem::take(&mut line);
                io.get_mut().write_all(answer.as_bytes()).await?;
            }
            None => {
                io.get_mut().write_all(b"bye\n").await?;
                break;
            }
        }
    }
    // The peer may still be sending: after a plain close, it might lose what was written.
    io.get_mut().close().await
}
