//! A child drain per connection: the requests of a connection run concurrently, and the connection
//! is closed after its last answer, whether its peer leaves or the whole server does.
//!
//! Each line is a request: a number of milliseconds, which comes back after that time, or `quit`.
//!
//! Run with: `cargo run --example sessions`, then `nc localhost 8080`, and Ctrl-C.

use std::{
    env,
    error::Error,
    io,
    net::{TcpListener, TcpStream},
    time::Duration,
};

use async_channel::Sender;
use async_drain::{Drain, Report, Shutdown, net::Linger, signal};
use futures_lite::{
    AsyncBufReadExt, AsyncRead, AsyncWriteExt, StreamExt,
    future::zip,
    io::{BufReader, split},
};
use smol::{Async, Timer};

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(10));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let server = serve(&drain, Async::new(listener)?);
    Ok(smol::block_on(shutdown.run(server)))
}

async fn serve(drain: &Drain, listener: Async<TcpListener>) -> io::Result<()> {
    let mut incoming = drain.accept(listener);
    while let Some(connection) = incoming.next().await {
        let connection = connection?;
        let guard = connection.guard.labeled("session");
        let session = session(connection.io, drain.child());
        let session = guard.run_until_aborting(session);
        smol::spawn(guard.wrap(session)).detach();
    }
    Ok(())
}

/// Serves one connection. `requests` drains when the server does.
async fn session(io: Linger<Async<TcpStream>>, requests: Drain) -> io::Result<()> {
    let (reader, mut writer) = split(io);
    let (answers, queue) = async_channel::unbounded();
    let read = async move {
        let read = read(reader, &requests, &answers).await;
        // `quit` ends only this connection. Its guards tell when the last answer is ready.
        requests.begin();
        requests.until_drained().await;
        answers.close();
        read
    };
    let write = async {
        while let Ok(answer) = queue.recv().await {
            writer.write_all(answer.as_bytes()).await?;
        }
        writer.close().await
    };
    let (read, written) = zip(read, write).await;
    read.and(written)
}

/// Ends with `quit`, with the peer, or when draining begins.
async fn read(
    reader: impl AsyncRead + Unpin,
    requests: &Drain,
    answers: &Sender<String>,
) -> io::Result<()> {
    let mut lines = requests.run_until_draining(BufReader::new(reader).lines());
    while let Some(line) = lines.next().await {
        let line = line?;
        let Ok(guard) = requests.admit() else { break };
        if line == "quit" {
            break;
        }
        let (guard, answers) = (guard.labeled(line.clone()), answers.clone());
        let answer = async move {
            Timer::after(Duration::from_millis(line.parse().unwrap_or(0))).await;
            // Fails only if the connection is gone.
            let _ = answers.send(line + "\n").await;
        };
        let answer = guard.run_until_aborting(answer);
        smol::spawn(guard.wrap(answer)).detach();
    }
    Ok(())
}
