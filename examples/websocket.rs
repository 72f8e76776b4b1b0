//! A WebSocket server without HTTP: it echoes, and when draining begins it sends close code 1001
//! and waits for the peer's close frame, for a bounded time.
//!
//! Run with: `cargo run --example websocket`, then `websocat ws://localhost:8080`, and Ctrl-C.

use std::{
    env,
    error::Error,
    io,
    net::{TcpListener, TcpStream},
    time::Duration,
};

use async_drain::{
    Drain, Guard, Report, Shutdown,
    net::{Incoming, Linger},
    signal,
};
use async_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{
        Error as WsError,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use futures_lite::{AsyncWriteExt, StreamExt, future::or};
use smol::{Async, Timer};

/// How long a peer may take to answer the close frame.
const GOODBYE: Duration = Duration::from_secs(2);

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(10));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let server = accept(drain.accept(Async::new(listener)?));
    Ok(smol::block_on(shutdown.run(server)))
}

async fn accept(mut incoming: Incoming<Async<TcpListener>>) -> io::Result<()> {
    while let Some(connection) = incoming.next().await {
        let connection = connection?;
        let guard = connection.guard.labeled("WebSocket");
        smol::spawn(async move {
            // One guard for one session: a clone of it would count as a second.
            let session = session(connection.io, &guard);
            guard.run_until_aborting(session).await
        })
        .detach();
    }
    Ok(())
}

type Socket = WebSocketStream<Linger<Async<TcpStream>>>;

async fn session(io: Linger<Async<TcpStream>>, guard: &Guard) -> Result<(), WsError> {
    // A peer that has not completed its handshake by then loses nothing.
    let Some(socket) = guard.run_until_draining(accept_async(io)).await else {
        return Ok(());
    };
    let mut socket = socket?;
    if echo(&mut socket, guard).await? {
        say_goodbye(&mut socket).await?;
    }
    Ok(socket.into_inner().close().await?)
}

/// Echoes until the peer leaves or draining begins, and returns whether it was draining. A message
/// that has begun is answered.
async fn echo(socket: &mut Socket, guard: &Guard) -> Result<bool, WsError> {
    let mut draining = guard.until_draining();
    loop {
        let message = or(async { Some(socket.next().await) }, async {
            (&mut draining).await;
            None
        });
        match message.await {
            // The socket itself answers a ping or a close frame.
            Some(Some(message)) => match message? {
                message if message.is_text() || message.is_binary() => socket.send(message).await?,
                _ => {}
            },
            Some(None) => return Ok(false),
            None => return Ok(true),
        }
    }
}

async fn say_goodbye(socket: &mut Socket) -> Result<(), WsError> {
    let frame = CloseFrame {
        code: CloseCode::Away,
        reason: "the server is leaving".into(),
    };
    socket.close(Some(frame)).await?;
    let peer = async { while let Some(Ok(_)) = socket.next().await {} };
    or(peer, async {
        Timer::after(GOODBYE).await;
    })
    .await;
    Ok(())
}
