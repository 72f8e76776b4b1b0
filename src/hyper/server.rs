use std::{fmt, future, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use ::hyper::{
    Request, Response,
    body::{Body, Incoming},
    rt::Executor,
    service::Service,
};
use futures_core::Stream;
use hyper_util::server::conn::auto;

use super::{
    activity::Activity,
    connection::{Connection, Start},
    ending::Ending,
    graceful::BoxError,
    handshake::Handshake,
    limits::Limits,
    service::{Answer, Respond},
    spawn::{LocalSpawner, LocalTask, SendSpawner, SendTask, Tasks},
    timer::ReactorTimer,
};
use crate::{
    Drain,
    drain::connection_guard::ConnectionGuard,
    net::{self, Accept, IntoAccept, Linger, STALL_LIMIT, idle::Graces},
};

/// An HTTP/1 and HTTP/2 server that stops without losing a request.
///
/// It accepts connections and serves each in a task of its own until draining begins. Then it empties the listener's
/// queue and closes it (Z1), and its connections end one by one: those that are idle within the keep-alive grace, in
/// which they may place one more request (Z2), the others after their last answer, which says
/// `Connection: close` (Z3), HTTP/2 by two GOAWAYs. Its [`serve`](Self::serve) ends when the listener is closed;
/// the drain is drained when the last byte of the last connection is written (Z5). Aborting cuts
/// what is left (Z12). Time comes from the async-io reactor.
///
/// A connection counts as in flight from the first byte of a request to the last byte of its answer. In a report it is
/// one straggler, named after its latest request; where the requests of an HTTP/2 connection are to be counted and named
/// one by one, put a `DrainLayer` (feature `tower`) around the service. An upgraded connection is not the server's any
/// more: give its task a guard.
///
/// ```no_run
/// use std::{convert::Infallible, io, net::TcpListener};
/// use ::hyper::{Request, Response, body::Incoming, service::service_fn};
/// use async_drain::{Drain, hyper::Server};
/// use smol::Async;
///
/// async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
///     Ok(Response::new("hello\n".into()))
/// }
///
/// # async fn serve(drain: Drain) -> io::Result<()> {
/// let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 8080))?;
/// Server::new(&drain, |task| smol::spawn(task).detach())
///     .serve(listener, service_fn(hello))
///     .await
/// # }
/// ```
#[must_use = "a server does nothing until it serves"]
pub struct Server<E, H = ()> {
    drain: Drain,
    tasks: Tasks<E>,
    builder: auto::Builder<Tasks<E>>,
    handshake: H,
    graces: Graces,
    peer_addresses: bool,
    stall_limit: Duration,
    limits: Limits,
}

impl<F: Fn(SendTask)> Server<SendSpawner<F>> {
    /// A server whose connections `drain` waits for, on an executor with several threads, such as smol's global one.
    ///
    /// `spawn` is called for each connection and each HTTP/2 stream.
    pub fn new(drain: &Drain, spawn: F) -> Self {
        Self::with_executor(drain, SendSpawner(spawn))
    }
}

impl<F: Fn(LocalTask)> Server<LocalSpawner<F>> {
    /// A server on an executor of one thread: nothing that serves need be `Send`.
    ///
    /// ```no_run
    /// # use std::rc::Rc;
    /// # use async_drain::{Drain, hyper::Server};
    /// # use async_executor::LocalExecutor;
    /// let executor = Rc::new(LocalExecutor::new());
    /// let spawner = Rc::clone(&executor);
    /// let server = Server::local(&Drain::new(), move |task| spawner.spawn(task).detach());
    /// ```
    pub fn local(drain: &Drain, spawn: F) -> Self {
        Self::with_executor(drain, LocalSpawner(spawn))
    }
}

impl<E> Server<E> {
    /// A server on any executor of hyper's. Unlike the functions given to [`new`](Server::new) and
    /// [`local`](Server::local), it gets its tasks unboxed.
    ///
    /// ```no_run
    /// # use std::future::Future;
    /// # use async_drain::{Drain, hyper::Server};
    /// struct Global;
    ///
    /// impl<T: Future<Output = ()> + Send + 'static> hyper::rt::Executor<T> for Global {
    ///     fn execute(&self, task: T) {
    ///         smol::spawn(task).detach();
    ///     }
    /// }
    ///
    /// let server = Server::with_executor(&Drain::new(), Global);
    /// ```
    pub fn with_executor(drain: &Drain, executor: E) -> Self {
        let tasks = Tasks::new(executor, Arc::clone(drain.node()));
        let mut builder = auto::Builder::new(tasks.clone());
        // A peer may close its side after its request; hyper would drop the request then.
        builder.http1().half_close(true);
        // hyper's own limit of 30 s for a head runs between requests as well, and would close idle connections.
        builder
            .http1()
            .timer(ReactorTimer)
            .header_read_timeout(None);
        builder.http2().timer(ReactorTimer);
        Self {
            drain: drain.clone(),
            tasks,
            builder,
            handshake: (),
            graces: Graces::default(),
            peer_addresses: false,
            stall_limit: STALL_LIMIT,
            limits: Limits::new(),
        }
    }
}

impl<E, H> Server<E, H> {
    /// Changes the settings of HTTP itself.
    ///
    /// ```no_run
    /// # use async_drain::{Drain, hyper::Server};
    /// let server = Server::new(&Drain::new(), |task| smol::spawn(task).detach())
    ///     .configure(|http| {
    ///         http.http1().max_buf_size(64 * 1024);
    ///     });
    /// ```
    pub fn configure(mut self, configure: impl FnOnce(&mut auto::Builder<Tasks<E>>)) -> Self {
        configure(&mut self.builder);
        self
    }

    /// Makes each connection what HTTP is spoken on, by a TLS handshake say. It runs in the connection's task, and a peer
    /// that stalls in it is closed like one that has sent nothing.
    pub fn handshake<N>(self, handshake: N) -> Server<E, N> {
        Server {
            drain: self.drain,
            tasks: self.tasks,
            builder: self.builder,
            handshake,
            graces: self.graces,
            peer_addresses: self.peer_addresses,
            stall_limit: self.stall_limit,
            limits: self.limits,
        }
    }

    /// How long an idle connection may still place one more request after draining has begun; one second by default.
    /// Zero closes it at once.
    pub fn keep_alive_grace(mut self, grace: Duration) -> Self {
        self.graces.keep_alive = grace;
        self
    }

    /// How long after it was accepted a connection that has sent nothing may send its first request when draining has
    /// begun; five seconds by default. A handshake is part of it. It is never shorter than the keep-alive grace, so one
    /// that has long been silent is closed with the idle ones.
    pub fn first_request_grace(mut self, grace: Duration) -> Self {
        self.graces.first_request = grace;
        self
    }

    /// Sets how long a closing connection waits for acknowledgements if none come; two seconds by
    /// default. After that it is reset, and counts as abandoned if bytes of an answer are missing.
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = limit;
        self
    }

    /// How long a peer may take for a request's head, and for its handshake.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether requests carry their peer's [`SocketAddr`](std::net::SocketAddr) as an extension, where it has one. It
    /// takes a few allocations for each request, so they don't unless told to.
    pub fn peer_addresses(mut self, peer_addresses: bool) -> Self {
        self.peer_addresses = peer_addresses;
        self
    }

    /// Serves the connections of `listener` until draining begins: any TCP or Unix listener of std, async-io or smol, or
    /// what else is [`IntoAccept`].
    ///
    /// It ends when the *listener* is closed. Connections are served on: they need their executor until the drain
    /// is drained, so an executor per thread runs both, e.g. `executor.run(zip(serving, drain.until_drained()))`. A
    /// connection that is dropped at work, with its executor, is reported as abandoned.
    ///
    /// From this call on, and not only from the first poll, the drain waits for it: a drain that begins earlier
    /// finds the queue emptied all the same.
    ///
    /// # Errors
    ///
    /// If the listener can't be accepted from, or stops listening. Connections that are being served go on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener, with the connections in its queue.
    #[track_caller]
    pub fn serve<L, S, B>(
        self,
        listener: L,
        service: S,
    ) -> impl Future<Output = io::Result<()>> + use<L, S, B, E, H>
    where
        L: IntoAccept,
        L::Accept: Unpin,
        H: Handshake<Linger<<L::Accept as Accept>::Conn>>,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
        S::Future: 'static,
        S::Error: Into<BoxError>,
        B: Body + 'static,
        B::Error: Into<BoxError>,
        E: 'static,
        Tasks<E>: auto::HttpServerConnExec<Respond<S, Incoming>, Answer<B>>
            + Executor<Connection<H, Linger<<L::Accept as Accept>::Conn>, S, Tasks<E>>>,
    {
        let mut incoming = self.drain.accept(listener).stall_limit(self.stall_limit);
        let begin = Arc::new(self.builder);
        let handshake = Arc::new(self.handshake);
        async move {
            while let Some(accepted) =
                future::poll_fn(|cx| Pin::new(&mut incoming).poll_next(cx)).await
            {
                let net::Connection {
                    mut io,
                    guard,
                    peer,
                    ..
                } = accepted?;
                let delivery = io.delivery();
                let standby = ConnectionGuard::new(guard).with_connection(&mut io);
                if let Some(peer) = peer {
                    // Until it has sent a request.
                    standby.label(|| peer.to_string().into());
                }
                let start = Start {
                    activity: Activity::new(&self.drain),
                    delivery,
                    peer: peer.filter(|_| self.peer_addresses),
                    service: service.clone(),
                    builder: Arc::clone(&begin),
                };
                let ending = Ending::new(self.drain.node(), self.graces).limits(self.limits);
                self.tasks.execute(Connection::new(
                    Arc::clone(&handshake),
                    io,
                    start,
                    ending,
                    standby,
                ));
            }
            Ok(())
        }
    }
}

impl<E, H> fmt::Debug for Server<E, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("drain", &self.drain)
            .field("graces", &self.graces)
            .finish_non_exhaustive()
    }
}
