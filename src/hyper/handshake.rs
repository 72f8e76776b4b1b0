use std::{
    future::{Future, Ready, ready},
    io,
};

use futures_io::{AsyncRead, AsyncWrite};

/// Turns an accepted connection into the stream HTTP runs on; implemented for any `Fn(connection)
/// -> impl Future` of a `Result`.
///
/// ```no_run
/// # use async_drain::{Drain, hyper::Server};
/// # use hyper::{Request, Response, body::Incoming, service::service_fn};
/// # async fn hello(_: Request<Incoming>) -> Result<Response<String>, std::convert::Infallible> {
/// #     Ok(Response::default()) }
/// # async fn serve(acceptor: futures_rustls::TlsAcceptor, drain: Drain) -> std::io::Result<()> {
/// # let listener = smol::Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0))?;
/// Server::new(&drain, |task| smol::spawn(task).detach())
///     .handshake(move |connection| acceptor.accept(connection))
///     .serve(listener, service_fn(hello))
///     .await
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handshake",
    label = "this server's handshake",
    note = "give `handshake` a closure from the accepted connection to a future of \
            `io::Result<stream>`, where the stream is `AsyncRead + AsyncWrite + Unpin + Send + \
            'static` (of futures-io), e.g. `move |connection| acceptor.accept(connection)`"
)]
pub trait Handshake<C> {
    /// The stream HTTP runs on.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The handshake; an error ends this connection and no other.
    type Future: Future<Output = io::Result<Self::Io>>;

    /// Starts the handshake.
    fn handshake(&self, conn: C) -> Self::Future;
}

impl<C, I, F, Fut> Handshake<C> for F
where
    F: Fn(C) -> Fut,
    Fut: Future<Output = io::Result<I>>,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Io = I;
    type Future = Fut;

    fn handshake(&self, conn: C) -> Fut {
        self(conn)
    }
}

/// No handshake: HTTP runs on the connection itself.
impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> Handshake<C> for () {
    type Io = C;
    type Future = Ready<io::Result<C>>;

    fn handshake(&self, conn: C) -> Self::Future {
        ready(Ok(conn))
    }
}
