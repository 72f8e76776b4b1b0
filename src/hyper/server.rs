use std::{fmt, future, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use ::hyper::{body::Incoming, rt::Executor};
use futures_core::Stream;
use hyper_util::server::conn::auto;

use super::{
    activity::{Activity, Unanswered},
    closing::Closing,
    connection::{Connection, Start},
    handshake::Handshake,
    http_service::HttpService,
    limits::{Limits, SharedLimits},
    service::Call,
    spawn::{LocalSpawner, LocalTask, SendSpawner, SendTask, Tasks},
    timer::ReactorTimer,
};
use crate::{
    Drain, Observer,
    drain::connection_guard::ConnectionGuard,
    http::{Answer, Respond},
    net::{self, Accept, IntoAccept, Linger, STALL_LIMIT, idle::Graces},
};

/// An HTTP/1 and HTTP/2 server that stops without losing a request.
///
/// It accepts connections until draining begins, and serves each in a task of its own. Then it
/// empties the listener's queue and closes the listener, and its connections end one by one:
///
/// - An idle connection ends with the keep-alive grace, in which it may send one more request.
/// - An HTTP/1 connection with a request ends after its answer, which says `Connection: close`.
/// - An HTTP/2 connection is told by two GOAWAYs, and ends after its last stream.
///
/// In lame duck, peers are told to leave in the same way, all but those that have connected since
/// lame duck began: to have them connect anew for each request would cost a busy server most of its
/// time. [`Limits`] can end connections while the server runs, as carefully.
///
/// The drain is drained when peers have acknowledged the last byte. Aborting cuts what is left.
///
/// A connection is in flight from the first byte of a request to the last byte of its answer. In a
/// report it is one straggler, named after its latest request. To count and name the requests of an
/// HTTP/2 connection one by one, put a `DrainLayer` (feature `tower`) around the service.
///
/// An upgraded connection is no longer the server's: give its task a guard, as
/// [`FromHyper`](super::FromHyper) shows. A tunnel in an HTTP/2 stream keeps its connection open,
/// but it is not in flight without a guard.
///
/// A service of tower's, such as axum's `Router`, is served as
/// `hyper_util::service::TowerToHyperService::new(router)`.
///
/// The server observes its drain and doesn't keep it running: keep the
/// [`Drain`](crate::Drain) itself until the program is to stop.
///
/// # Peers that leave before their answer
///
/// A peer of HTTP/1 may end its sending after its request, as `nc -N` does, and still read the
/// answer. One that has gone looks the same until something is written to it, so its handler runs
/// to its end. If handlers wait for long, and no client of yours does that, let hyper drop the
/// handlers of peers that have ended their sending, by
/// [`configure`](Self::configure)`(|http| { http.http1().half_close(false); })`.
///
/// # What is cut while it is silent
///
/// An HTTP/2 peer that has no request under way has five seconds to react to the first GOAWAY: any
/// byte from it will do, and hyper sends a PING with the GOAWAY. An answer that it has not received
/// and an open tunnel are under way. An upload is not, if its handler has answered it already and
/// reads on: the rest of its body is lost if the peer sends nothing at all for these five seconds.
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
    drain: Observer,
    tasks: Tasks<E>,
    builder: auto::Builder<Tasks<E>>,
    handshake: H,
    graces: Graces,
    peer_addresses: bool,
    stall_limit: Duration,
    limits: Limits,
}

impl<F: Fn(SendTask)> Server<SendSpawner<F>> {
    /// Creates a server whose connections `drain` waits for, on an executor with several threads,
    /// such as smol's global one.
    ///
    /// `spawn` is called for each connection and each HTTP/2 stream.
    pub fn new(drain: &Drain, spawn: F) -> Self {
        Self::with_executor(drain, SendSpawner(spawn))
    }
}

impl<F: Fn(LocalTask)> Server<LocalSpawner<F>> {
    /// Creates a server on an executor of one thread, where nothing has to be `Send`.
    ///
    /// ```no_run
    /// # use std::rc::Rc;
    /// # use async_drain::{Drain, hyper::Server};
    /// # use async_executor::LocalExecutor;
    /// let drain = Drain::new();
    /// let executor = Rc::new(LocalExecutor::new());
    /// let spawner = Rc::clone(&executor);
    /// let server = Server::local(&drain, move |task| spawner.spawn(task).detach());
    /// ```
    pub fn local(drain: &Drain, spawn: F) -> Self {
        Self::with_executor(drain, LocalSpawner(spawn))
    }
}

impl<E> Server<E> {
    /// Creates a server on any [`hyper::rt::Executor`](::hyper::rt::Executor), which is given its
    /// tasks unboxed.
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
    /// # let drain = Drain::new();
    /// let server = Server::with_executor(&drain, Global);
    /// ```
    pub fn with_executor(drain: &Drain, executor: E) -> Self {
        let tasks = Tasks::new(executor, drain.node());
        let mut builder = auto::Builder::new(tasks.clone());
        // A peer may close its side after its request; hyper would drop the request then.
        builder.http1().half_close(true);
        // hyper's own limit of 30 s for a head runs between requests as well, and would close idle
        // connections.
        builder
            .http1()
            .timer(ReactorTimer)
            .header_read_timeout(None);
        builder.http2().timer(ReactorTimer);
        Self {
            drain: drain.observer(),
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
    /// # let drain = Drain::new();
    /// let server = Server::new(&drain, |task| smol::spawn(task).detach())
    ///     .configure(|http| {
    ///         http.http1().max_buf_size(64 * 1024);
    ///     });
    /// ```
    pub fn configure(mut self, configure: impl FnOnce(&mut auto::Builder<Tasks<E>>)) -> Self {
        configure(&mut self.builder);
        self
    }

    /// Turns each accepted connection into the stream HTTP runs on, e.g. by a TLS handshake.
    ///
    /// The handshake runs in the connection's task. Once draining has begun, a peer that stalls in
    /// it is closed like one that has sent nothing.
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

    /// Sets how long an idle connection may still send one more request after draining has begun;
    /// one second by default. Zero closes it at once.
    ///
    /// If it is longer than the grace period, which cuts it short, the hooks of
    /// [`on_progress`](crate::Shutdown::on_progress) are warned when draining begins.
    pub fn keep_alive_grace(mut self, grace: Duration) -> Self {
        self.graces.keep_alive = grace;
        self
    }

    /// Sets how long after it was accepted a silent connection may still send its first request
    /// once draining has begun; five seconds by default.
    ///
    /// A handshake is part of that time. It is never shorter than the keep-alive grace, so a
    /// connection that has long been silent is closed together with the idle ones. If it was set,
    /// and is longer than the grace period, the hooks are warned as with
    /// [`keep_alive_grace`](Self::keep_alive_grace).
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

    /// Sets what peers may take and how long their connections may live, while the server runs.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets whether requests carry their peer's [`SocketAddr`](std::net::SocketAddr) as an
    /// extension, if it has one; they don't by default.
    ///
    /// It costs a few allocations for each request.
    pub fn peer_addresses(mut self, peer_addresses: bool) -> Self {
        self.peer_addresses = peer_addresses;
        self
    }

    /// Serves the connections of `listener`; it ends when the *listener* is closed, and its
    /// connections need their executor until the drain is drained.
    ///
    /// An executor per thread therefore runs both, e.g.
    /// `executor.run(zip(serving, drain.until_drained()))`. A connection that is dropped at work,
    /// together with its executor, is reported as abandoned.
    ///
    /// The listener is closed once draining has begun and its queue is empty. It is any TCP or Unix
    /// listener of std, async-io or smol, and whatever else is [`IntoAccept`].
    ///
    /// The drain waits for the server from this call on, and not only from the first poll: if
    /// draining begins between the two, the queue is emptied all the same.
    ///
    /// # Errors
    ///
    /// Returns an error if the listener can't be accepted from, or stops listening. Connections
    /// that are being served go on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener, with the connections in its queue.
    #[track_caller]
    pub fn serve<L, S>(
        self,
        listener: L,
        service: S,
    ) -> impl Future<Output = io::Result<()>> + use<L, S, E, H>
    where
        L: IntoAccept,
        L::Accept: Unpin,
        H: Handshake<Linger<<L::Accept as Accept>::Conn>>,
        S: HttpService<
                Respond = Respond<Call<S, Incoming>, Unanswered>,
                Task<H, Linger<<L::Accept as Accept>::Conn>, Tasks<E>> = Connection<
                    H,
                    Linger<<L::Accept as Accept>::Conn>,
                    S,
                    Tasks<E>,
                >,
            >,
        E: 'static,
        Tasks<E>: auto::HttpServerConnExec<S::Respond, Answer<S::ResponseBody, Unanswered>>
            + Executor<S::Task<H, Linger<<L::Accept as Accept>::Conn>, Tasks<E>>>,
    {
        let mut limits = vec![
            ("keep-alive grace", self.graces.keep_alive),
            ("spread", self.limits.spread),
        ];
        // One that was not set must not warn at each stop: a silent peer loses nothing.
        if self.graces.first_request != Graces::default().first_request {
            limits.push(("first-request grace", self.graces.first_request));
        }
        for (name, limit) in limits {
            self.drain.node().note_idle_limit(name, limit);
        }
        let incoming = net::Incoming::new(self.drain.clone(), listener);
        let mut incoming = incoming
            .stall_limit(self.stall_limit)
            .connections(self.limits.connections);
        let limits = SharedLimits::new(self.limits);
        let builder = Arc::new(self.builder);
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
                let guard = ConnectionGuard::new(guard).with_connection(&mut io);
                if let Some(peer) = peer {
                    // The connection is named after its peer until it has sent a request.
                    guard.label(|| peer.to_string().into());
                }
                let start = Start {
                    activity: Activity::observing(self.drain.clone()),
                    delivery,
                    peer: peer.filter(|_| self.peer_addresses),
                    service: service.clone(),
                    builder: Arc::clone(&builder),
                };
                let mut closing = Closing::new(&self.drain, self.graces);
                closing.set_limits(Arc::clone(&limits), peer);
                self.tasks.execute(Connection::new(
                    Arc::clone(&handshake),
                    io,
                    start,
                    closing,
                    guard,
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
