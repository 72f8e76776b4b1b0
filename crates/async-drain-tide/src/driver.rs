use std::{future::Future, time::Duration};

use async_drain::{
    Drain, Phase,
    net::{
        Connection, Transport,
        idle::{Graces, IdleTimer},
    },
};
use http_types::{Request, Response, Result};

use crate::connection::{self, Limits};

/// Serves connections with async-h1, on any executor, so that a drain loses none of their requests.
///
/// The caller writes the accept loop: [`Drain::accept`] yields connections and ends when draining
/// begins. Neither the endpoint nor the executor needs to be `Send`.
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
    head_timeout: Duration,
}

impl Driver {
    /// Creates a driver of connections that `drain` waits for. The driver keeps the drain running;
    /// its connections don't.
    #[must_use]
    pub fn new(drain: &Drain) -> Self {
        Self {
            drain: drain.clone(),
            graces: Graces::default(),
            head_timeout: Duration::from_secs(30),
        }
    }

    /// Sets how long an idle connection may still send one more request after draining has begun;
    /// one second by default. Zero closes it at once.
    #[must_use]
    pub fn keep_alive_grace(mut self, grace: Duration) -> Self {
        self.graces.keep_alive = grace;
        self
    }

    /// Sets how long after it was accepted a silent connection may still send its first request
    /// once draining has begun; five seconds by default.
    ///
    /// It is never shorter than the keep-alive grace.
    #[must_use]
    pub fn first_request_grace(mut self, grace: Duration) -> Self {
        self.graces.first_request = grace;
        self
    }

    /// Sets how long the head of a request may take from its first byte, draining or not; 30
    /// seconds by default. A connection whose head takes longer is closed.
    ///
    /// An idle connection has no such limit: it is kept until draining begins.
    #[must_use]
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// Serves `connection` until its peer leaves, until draining and its graces end it, or until
    /// aborting cancels it.
    ///
    /// The connection holds its guard throughout, and counts as in flight from the first byte of a
    /// request to the last byte of its answer. An upgraded connection holds it until the task that
    /// has [taken](Response::recv_upgrade) it drops it; its reads and writes fail once aborting
    /// begins.
    ///
    /// # Errors
    ///
    /// The future returns what ended the connection: a malformed request, an endpoint that failed,
    /// or a peer that disconnected. No other connection is affected.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, whatever it was doing. If that happens during a
    /// request once the shutdown is under way, e.g. because the executor was dropped, the request
    /// is reported as abandoned.
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
        let limits = Limits {
            idle_timer: IdleTimer::new(&self.drain, self.graces),
            head_timeout: self.head_timeout,
            // A peer that connects in lame duck does so in spite of it.
            leaves_at: if self.drain.phase() == Phase::LameDuck {
                Phase::Draining
            } else {
                Phase::LameDuck
            },
        };
        connection::serve(connection, limits, endpoint)
    }
}
