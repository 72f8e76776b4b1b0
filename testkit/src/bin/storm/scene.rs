//! What the clients and peers of a round share.

use rustix::process::Signal;
use smol::Timer;
use std::cell::{Cell, RefCell};
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use testkit::meter::gate::{Gate, Hold, gate};
use testkit::meter::tls;
use testkit::meter::transport::Target;
use testkit::process::Server;

/// How long clients go on after the signal at most; by then any server should have ended.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// One server.
pub(crate) struct Scene<'a> {
    pub(crate) server: &'a Server,
    pub(crate) http1: Target,
    pub(crate) http2: Target,
    frozen: Cell<bool>,
    thawed: Cell<Option<Instant>>,
    heard: Cell<Option<Instant>>,
    signalled: Gate,
    silence: RefCell<Option<Hold>>,
    losses: RefCell<Vec<String>>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(server: &'a Server, tls: bool) -> Result<Self> {
        let target = |protocol| {
            let tls = tls.then(|| tls::connector(protocol)).transpose();
            Ok::<_, Error>(Target {
                addr: server.addr(),
                tls: tls.map_err(Error::other)?,
            })
        };
        let (silence, signalled) = gate();
        Ok(Self {
            server,
            http1: target("http/1.1")?,
            http2: target("h2")?,
            frozen: Cell::default(),
            thawed: Cell::default(),
            heard: Cell::default(),
            signalled,
            silence: RefCell::new(Some(silence)),
            losses: RefCell::default(),
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.http1.addr
    }

    /// Tells the server to stop, and then the clients and peers that wait for that.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.server.signal(signal)?;
        if !self.frozen.get() {
            self.heard.set(Some(Instant::now()));
        }
        self.silence.take();
        Ok(())
    }

    /// Freezes the process for some time.
    pub(crate) async fn freeze(&self, time: Duration) -> Result<()> {
        self.server.stop()?;
        self.frozen.set(true);
        Timer::after(time).await;
        self.server.cont()?;
        self.frozen.set(false);
        let now = Instant::now();
        self.thawed.set(Some(now));
        if self.is_signalled() && self.heard.get().is_none() {
            self.heard.set(Some(now));
        }
        Ok(())
    }

    /// Returns when the process could first notice the signal.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.heard.get()
    }

    /// Returns when the process was last thawed.
    pub(crate) fn thawed(&self) -> Option<Instant> {
        self.thawed.get()
    }

    /// Records a lost request.
    pub(crate) fn record_loss(&self, loss: &str) {
        let when = match self.server.signalled() {
            Some(at) => format!("{:.1?} after the signal", at.elapsed()),
            None => "before the signal".to_owned(),
        };
        self.losses.borrow_mut().push(format!("{loss}, {when}"));
    }

    pub(crate) fn losses(&self) -> Vec<String> {
        self.losses.take()
    }

    pub(crate) async fn signalled(&self) {
        self.signalled.opened().await;
    }

    pub(crate) fn is_signalled(&self) -> bool {
        self.server.signalled().is_some()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.server
            .signalled()
            .is_some_and(|at| at.elapsed() > TIMEOUT)
    }
}
