use std::{
    fmt,
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    pin::Pin,
    time::Duration,
};

use async_drain::{
    Drain,
    net::{Accept, Incoming, IntoAccept},
};
use async_io::Async;
use futures_core::Stream;
use tide::{
    Server,
    listener::{ListenInfo, Listener, ToListener},
};

use crate::Driver;

/// The listener of a tide application that stops without losing a request.
///
/// When draining begins, it accepts the connections that are queued and closes. Idle connections
/// may send one more request within the keep-alive grace, and each answer says `Connection: close`;
/// in lame duck, each that goes to a peer that was connected before. The drain is drained once the
/// peers have acknowledged the last byte of each connection. Aborting cancels what is left.
///
/// The connections are tasks of async-std's global executor. They need it until the drain is
/// drained: `listen` returns earlier, when the listener is closed.
///
/// ```no_run
/// # use std::time::Duration;
/// use async_drain::{Drain, Shutdown};
/// use async_drain_tide::DrainListener;
///
/// # async fn serve() -> std::io::Result<async_drain::Report> {
/// let drain = Drain::new();
/// let mut app = tide::new();
/// app.at("/").get(|_| async { Ok("hello\n") });
///
/// let listener = DrainListener::bind(&drain, "127.0.0.1:8080")?;
/// let shutdown = Shutdown::new(&drain).grace(Duration::from_secs(10));
/// # #[cfg(unix)]
/// # let shutdown = shutdown.on(async_drain::signal::termination()?);
/// Ok(shutdown.run(app.listen(listener)).await)
/// # }
/// ```
pub struct DrainListener<State, L: IntoAccept = Async<TcpListener>> {
    incoming: Incoming<L>,
    driver: Driver,
    /// Set by `bind`; an address that the caller has bound is not known.
    addr: Option<SocketAddr>,
    /// Set by [`Listener::bind`], and taken by [`Listener::accept`].
    app: Option<Server<State>>,
}

impl<State> DrainListener<State> {
    /// Binds a TCP address. From this call on, the kernel queues connections.
    ///
    /// # Errors
    ///
    /// Fails if the address can't be resolved or bound.
    pub fn bind(drain: &Drain, addr: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let mut bound = Self::new(drain, Async::new(listener)?);
        bound.addr = Some(addr);
        Ok(bound)
    }
}

impl<State, L: IntoAccept> DrainListener<State, L> {
    /// Wraps a listener that [`Drain::accept`] takes: a TCP or Unix listener of std, async-io or
    /// smol, or another type that is [`IntoAccept`]. Convert a listener of async-std with
    /// `std::net::TcpListener::try_from(listener)`.
    ///
    /// From this call on, the drain waits for the listener, even if draining begins before tide
    /// listens.
    pub fn new(drain: &Drain, listener: L) -> Self {
        Self {
            incoming: drain.accept(listener),
            driver: Driver::new(drain),
            addr: None,
            app: None,
        }
    }
}

impl<State, L: IntoAccept> DrainListener<State, L> {
    /// Returns the address, if [`bind`](Self::bind) made the listener.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Sets the keep-alive grace: see [`Driver::keep_alive_grace`].
    #[must_use]
    pub fn keep_alive_grace(mut self, grace: Duration) -> Self {
        self.driver = self.driver.keep_alive_grace(grace);
        self
    }

    /// Sets the first-request grace: see [`Driver::first_request_grace`].
    #[must_use]
    pub fn first_request_grace(mut self, grace: Duration) -> Self {
        self.driver = self.driver.first_request_grace(grace);
        self
    }

    /// Sets the limit for a request head: see [`Driver::head_timeout`].
    #[must_use]
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.driver = self.driver.head_timeout(timeout);
        self
    }
}

#[tide::utils::async_trait]
impl<State, L> Listener<State> for DrainListener<State, L>
where
    State: Clone + Send + Sync + 'static,
    L: IntoAccept + 'static,
    L::Accept: Send + Sync + Unpin,
    <L::Accept as Accept>::Conn: Send + 'static,
{
    async fn bind(&mut self, app: Server<State>) -> io::Result<()> {
        self.app = Some(app);
        Ok(())
    }

    async fn accept(&mut self) -> io::Result<()> {
        let app = self.app.take().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotConnected, "accept was called before bind")
        })?;
        while let Some(connection) = poll_fn(|cx| Pin::new(&mut self.incoming).poll_next(cx)).await
        {
            let app = app.clone();
            let serving = self.driver.drive(connection?, move |request| {
                let app = app.clone();
                async move { app.respond(request).await }
            });
            async_std::task::spawn(async move {
                if let Err(error) = serving.await {
                    tide::log::error!("async-h1: {}", error);
                }
            });
        }
        Ok(())
    }

    fn info(&self) -> Vec<ListenInfo> {
        vec![ListenInfo::new(self.to_string(), "tcp".into(), false)]
    }
}

impl<State, L> ToListener<State> for DrainListener<State, L>
where
    State: Clone + Send + Sync + 'static,
    L: IntoAccept + 'static,
    L::Accept: Send + Sync + Unpin,
    <L::Accept as Accept>::Conn: Send + 'static,
{
    type Listener = Self;

    fn to_listener(self) -> io::Result<Self> {
        Ok(self)
    }
}

impl<State, L: IntoAccept> fmt::Display for DrainListener<State, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            Some(addr) => write!(f, "http://{addr}"),
            None => f.write_str("a listener of async-drain"),
        }
    }
}

impl<State, L: IntoAccept> fmt::Debug for DrainListener<State, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainListener")
            .field("incoming", &self.incoming)
            .field("driver", &self.driver)
            .field("addr", &self.addr)
            .field("bound", &self.app.is_some())
            .finish()
    }
}
