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

/// What tide listens to in order to stop without losing a request.
///
/// It keeps the server promises of async-drain: when draining begins it empties the listener's queue and closes it, its
/// idle connections may place one more request within the keep-alive grace, every answer from lame duck on says
/// `Connection: close`, and the drain is drained when the last byte of the last connection is written. Aborting cuts
/// what is left.
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
    /// Where it listens, if that is known.
    addr: Option<SocketAddr>,
    /// From [`bind`](Listener::bind) to [`accept`](Listener::accept).
    app: Option<Server<State>>,
}

impl<State> DrainListener<State> {
    /// Listens on a TCP address; from now on the kernel queues connections.
    ///
    /// # Errors
    ///
    /// If the address can't be resolved or is not to be had.
    pub fn bind(drain: &Drain, addr: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let mut bound = Self::new(drain, Async::new(listener)?);
        bound.addr = Some(addr);
        Ok(bound)
    }
}

impl<State, L: IntoAccept> DrainListener<State, L> {
    /// Takes what [`Drain::accept`] does: a TCP or Unix listener of std, async-io or smol, or what else is [`IntoAccept`].
    /// One of async-std is converted by `std::net::TcpListener::try_from(listener)`.
    ///
    /// From this call on the drain waits for it: one that begins earlier than tide listens finds the queue emptied all the
    /// same.
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
    /// Where it listens, if it was made by [`bind`](Self::bind).
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// See [`Driver::keep_alive_grace`].
    #[must_use]
    pub fn keep_alive_grace(mut self, grace: Duration) -> Self {
        self.driver = self.driver.keep_alive_grace(grace);
        self
    }

    /// See [`Driver::first_request_grace`].
    #[must_use]
    pub fn first_request_grace(mut self, grace: Duration) -> Self {
        self.driver = self.driver.first_request_grace(grace);
        self
    }

    /// See [`Driver::head_timeout`].
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
            None => f.write_str("a draining listener"),
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
