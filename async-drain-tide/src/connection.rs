use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use async_drain::{
    UntilAborting,
    net::{self, Patience, Transport},
};
use async_h1::server::{ConnectionStatus, Server};
use futures_io::AsyncWrite;
use http_types::{Request, Response, Result, StatusCode, headers::CONNECTION};

use crate::io::Io;

/// Serves a connection from accept to close.
pub(crate) async fn serve<C, F, Fut>(
    connection: net::Connection<C>,
    mut patience: Patience,
    endpoint: F,
) -> Result<()>
where
    C: Transport + Send + 'static,
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Result<Response>>,
{
    let net::Connection {
        io, guard, peer, ..
    } = connection;
    let local = io.get_ref().local_addr();
    let mut aborting = guard.until_aborting();
    let io = Io::new(io, guard);

    let (io, endpoint) = (&io, &endpoint);
    let mut server = Server::new(io.clone(), move |mut request: Request| {
        request.set_local_addr(local);
        request.set_peer_addr(peer);
        respond(io, endpoint, request)
    });
    let end = loop {
        io.begin_head();
        let request = pin!(server.accept_one());
        match next(io, &mut patience, &mut aborting, request).await {
            Next::Served(Ok(ConnectionStatus::KeepAlive)) => {}
            Next::Served(end) => break end.map(|_| ()),
            Next::Idle => break Ok(()),
            Next::Cut => {
                drop(io.take());
                return Ok(());
            }
        }
    };
    // One that is upgraded is left to the one who takes it. An offer that did not reach the peer is none.
    if end.is_err() || !io.is_upgraded() {
        close(io, aborting).await;
    }
    end
}

/// What becomes of a connection that waits for a request.
enum Next {
    Served(Result<ConnectionStatus>),
    /// None came in time.
    Idle,
    Cut,
}

async fn next<C: Transport>(
    io: &Io<C>,
    patience: &mut Patience,
    aborting: &mut UntilAborting,
    mut request: Pin<&mut impl Future<Output = Result<ConnectionStatus>>>,
) -> Next {
    poll_fn(|cx| {
        if Pin::new(&mut *aborting).poll(cx).is_ready() {
            return Poll::Ready(Next::Cut);
        }
        // What has arrived is read before the connection is judged idle.
        if let Poll::Ready(end) = request.as_mut().poll(cx) {
            return Poll::Ready(Next::Served(end));
        }
        patience.set_idle(io.rest());
        patience.poll(io.is_silent(), cx).map(|()| Next::Idle)
    })
    .await
}

/// Answers a request, and tells the peer to leave from lame duck on (Z3).
async fn respond<C, F, Fut>(io: &Io<C>, endpoint: &F, request: Request) -> Result<Response>
where
    C: Transport,
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Result<Response>>,
{
    io.request(&request);
    let mut response = endpoint(request).await?;
    if response.status() == StatusCode::SwitchingProtocols && response.has_upgrade() {
        io.offer_upgrade();
    } else if io.is_leaving() {
        response.insert_header(CONNECTION, "close");
    }
    Ok(response)
}

/// Closes the connection without losing what was written (Z8), unless aborting begins first (Z12).
async fn close<C: Transport>(io: &Io<C>, mut aborting: UntilAborting) {
    let (conn, standby) = io.take();
    if let Some(mut conn) = conn {
        poll_fn(|cx| {
            if Pin::new(&mut aborting).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            // Who can't be closed has gone.
            Pin::new(&mut conn).poll_close(cx).map(|_| ())
        })
        .await;
    }
    // The socket is closed before the guard says that the last byte was written (Z5).
    drop(standby);
}
