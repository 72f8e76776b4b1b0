//! A TCP proxy: it copies bytes both ways, and once draining has begun, it ends after a second
//! without any.
//!
//! Run with: `UPSTREAM=127.0.0.1:8000 cargo run --example proxy`, then `nc localhost 8080`, and
//! Ctrl-C.

use std::{
    env,
    error::Error,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use async_drain::{
    Drain, Guard, Report, Shutdown,
    net::{Connection, Incoming, Linger, idle::Traffic},
    signal,
};
use futures_lite::{
    AsyncRead, AsyncWrite, AsyncWriteExt, StreamExt,
    future::{or, zip},
    io::copy,
};
use smol::Async;

/// The longest time that an answer takes to begin, or pauses.
const QUIET: Duration = Duration::from_secs(1);

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let upstream = env::var("UPSTREAM").map_err(|_| "set UPSTREAM, e.g. to 127.0.0.1:8000")?;
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(10));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let server = accept(drain.accept(listener), upstream.parse()?);
    Ok(smol::block_on(shutdown.run(server)))
}

async fn accept(mut incoming: Incoming<TcpListener>, upstream: SocketAddr) -> io::Result<()> {
    while let Some(connection) = incoming.next().await {
        let Connection {
            io, guard, peer, ..
        } = connection?;
        let guard = match peer {
            Some(peer) => guard.labeled(peer.to_string()),
            None => guard,
        };
        let task = relay(io, upstream, guard.clone());
        let task = guard.run_until_aborting(task);
        smol::spawn(guard.wrap(task)).detach();
    }
    Ok(())
}

/// Ends when both sides have ended, or once draining has begun and no bytes move between them.
async fn relay(
    mut client: Linger<Async<TcpStream>>,
    upstream: SocketAddr,
    guard: Guard,
) -> io::Result<()> {
    let mut server = Linger::new(Async::<TcpStream>::connect(upstream).await?);
    let traffic = Traffic::new(&guard);
    let there = pump(traffic.watch(&client), traffic.watch(&server));
    let back = pump(traffic.watch(&server), traffic.watch(&client));
    let both = async {
        let (there, back) = zip(there, back).await;
        there.and(back)
    };
    // Bytes that have arrived are copied first; only then is the connection quiet.
    or(both, async {
        traffic.until_quiet(QUIET).await;
        Ok(())
    })
    .await?;
    let (client, server) = zip(client.close(), server.close()).await;
    client.and(server)
}

/// Copies everything, and then half-closes: a side that sends nothing more may still read.
async fn pump(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    copy(from, &mut to).await?;
    to.close().await
}
