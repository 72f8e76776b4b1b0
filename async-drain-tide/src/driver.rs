use std::{future::Future, time::Duration};

use async_drain::{
    Drain,
    net::{Connection, Graces, Patience, Transport},
};
use http_types::{Request, Response, Result};

use crate::connection;

/// Serves connections with async-h1 so that a drain loses none of their requests; for any executor.
///
/// The accept loop is the caller's, and short: [`Drain::accept`] gives it connections and ends when draining begins.
/// Neither the endpoint nor the executor need be `Send`.
///
/// ```no_run
/// use std::{io, net::TcpListener};
/// use async_drain::Drain;
/// use async_drain_tide::Driver;
/// use futures_lite::StreamExt;
/// use http_types::Response;
/// use smol::Async;
///
/// # async fn serve(drain: Drain) -> io::Result<()> {
/// let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 8080))?;
/// let driver = Driver::new(&drain);
/// let mut incoming = drain.accept(listener);
/// while let Some(connection) = incoming.next().await {
///     let serving = driver.drive(connection?, |_request| async { Ok(Response::new(200)) });
///     smol::spawn(serving).detach();
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Driver {
    drain: Drain,
    graces: Graces,
}

impl Driver {
    /// A driver of connections that `drain` waits for. It is a handle of the drain; the connections are none.
    #[must_use]
    pub fn new(drain: &Drain) -> Self {
        Self {
            drain: drain.clone(),
            graces: Graces::default(),
        }
    }

    /// How long an idle connection may still place one more request after draining has begun; one second by default.
    /// Zero closes it at once.
    #[must_use]
    pub fn keep_alive_grace(mut self, grace: Duration) -> Self {
        self.graces.keep_alive = grace;
        self
    }

    /// How long after its accept a connection that has sent nothing may send its first request; five seconds by
    /// default. It is never shorter than the keep-alive grace.
    #[must_use]
    pub fn first_request_grace(mut self, grace: Duration) -> Self {
        self.graces.first_request = grace;
        self
    }

    /// Serves `connection` until its peer leaves, until draining and its graces end it, or until aborting cuts it.
    ///
    /// The connection holds its guard from now on, and counts as in flight from the first byte of a request to the last
    /// byte of its answer. An upgraded one holds it until whoever has [taken](Response::recv_upgrade) it drops it; once
    /// aborting begins its reads and writes fail.
    ///
    /// # Errors
    ///
    /// What ended the connection: a request that is none, an endpoint that failed, a peer that has gone. It concerns
    /// nobody else.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, whatever it was doing.
    pub fn drive<C, F, Fut>(
        &self,
        connection: Connection<C>,
        endpoint: F,
    ) -> impl Future<Output = Result<()>> + use<C, F, Fut>
    where
        C: Transport + Send + 'static,
        F: Fn(Request) -> Fut,
        Fut: Future<Output = Result<Response>>,
    {
        let patience = Patience::new(&self.drain, self.graces);
        connection::serve(connection, patience, endpoint)
    }
}
