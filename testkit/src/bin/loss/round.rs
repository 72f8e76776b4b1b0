//! One server from its start to its end, as the scenarios see it.

use futures_lite::FutureExt;
use rustix::process::Signal;
use smol::{LocalExecutor, Timer};
use std::cell::{Cell, RefCell};
use std::io::{Error, Result};
use std::time::Duration;
use testkit::meter::gate::{Gate, Hold, gate};
use testkit::meter::http1::{Http1, head};
use testkit::meter::tally::{Expected, Outcome, Tally};
use testkit::meter::transport::{Stream, Target};
use testkit::process::Server;

/// How long the clients may take to be ready for the signal, and how long after it the server may
/// keep them busy. After that they give up, and the server is killed.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// What a scenario works with.
pub(crate) struct Round<'a> {
    pub(crate) server: &'a Server,
    pub(crate) target: Target,
    pub(crate) connections: usize,
    signal: Signal,
    numbers: Cell<usize>,
    signalled: Gate,
    /// Dropped when the signal is sent.
    silence: RefCell<Option<Hold>>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(
        server: &'a Server,
        signal: Signal,
        target: Target,
        connections: usize,
    ) -> Self {
        let (silence, signalled) = gate();
        Self {
            server,
            target,
            connections,
            signal,
            numbers: Cell::new(0),
            signalled,
            silence: RefCell::new(Some(silence)),
        }
    }

    /// Returns a number that no other client gets.
    pub(crate) fn number(&self) -> usize {
        self.numbers.replace(self.numbers.get() + 1)
    }

    /// Tells the server to stop, and then the clients that wait for that.
    pub(crate) fn signal(&self) -> Result<()> {
        self.server.signal(self.signal)?;
        self.silence.take();
        Ok(())
    }

    /// Waits until the signal is sent.
    pub(crate) async fn signalled(&self) {
        self.signalled.opened().await;
    }

    /// Returns whether the server has had its time to stop. It ends closed loops, which a server
    /// that never stops would feed for ever.
    pub(crate) fn is_over(&self) -> bool {
        self.server
            .signalled()
            .is_some_and(|at| at.elapsed() > TIMEOUT)
    }

    /// Opens a connection and counts how that went. A refusal before the signal is an error: there
    /// is nothing to measure.
    pub(crate) async fn connect(&self, tally: &mut Tally) -> Result<Option<Stream>> {
        let stream = self.target.connect().await?;
        match &stream {
            Some(_) => tally.connections += 1,
            None if self.server.signalled().is_some() => tally.refused += 1,
            None => return Err(Error::other("a connection was refused before the signal")),
        }
        Ok(stream)
    }

    /// Counts how a request ended. A loss before the signal is an error: the server does not work,
    /// or not with this protocol.
    pub(crate) fn record(
        &self,
        tally: &mut Tally,
        outcome: Outcome,
        expected: Expected,
    ) -> Result<()> {
        if let (Outcome::Lost(loss), None) = (outcome, self.server.signalled()) {
            return Err(Error::other(format!(
                "a request was lost before the signal: {loss}"
            )));
        }
        tally.record(outcome, expected);
        Ok(())
    }

    /// Sends one request on a connection of its own, and counts how that went; returns whether it
    /// was connected.
    pub(crate) async fn one_request(&self, tally: &mut Tally) -> Result<bool> {
        let Some(stream) = self.connect(tally).await? else {
            return Ok(false);
        };
        let outcome = Http1::new(stream)
            .ask(&head("GET", "/", "connection: close\r\n"))
            .await;
        self.record(tally, outcome, Expected::OK)?;
        Ok(true)
    }

    /// Makes sure that all connections opened before have been accepted: they are accepted in
    /// order, and a later one is answered.
    pub(crate) async fn probe(&self) -> Result<()> {
        self.one_request(&mut Tally::default()).await?;
        Ok(())
    }

    /// Runs one client per connection, and `stop` once each of them is ready for the signal or has
    /// ended.
    ///
    /// A client says that it is ready by dropping its hold. Returns what they all saw, when the
    /// last one has ended.
    pub(crate) async fn play<C>(
        &self,
        client: impl Fn(Hold) -> C,
        stop: impl Future<Output = Result<()>>,
    ) -> Result<Tally>
    where
        C: Future<Output = Result<Tally>>,
    {
        let executor = LocalExecutor::new();
        let (hold, ready) = gate();
        let clients: Vec<_> = (0..self.connections)
            .map(|_| executor.spawn(client(hold.clone())))
            .collect();
        drop(hold);
        executor
            .run(async {
                let late = async {
                    Timer::after(TIMEOUT).await;
                    Err(Error::other(
                        "the clients were not ready for the signal in time",
                    ))
                };
                let ready = async {
                    ready.opened().await;
                    Ok(())
                };
                ready.or(late).await?;
                stop.await?;
                let mut total = Tally::default();
                for client in clients {
                    total += client.await?;
                }
                Ok(total)
            })
            .await
    }
}

/// Waits for a random time up to this.
pub(crate) async fn random_pause(longest: Duration) {
    Timer::after(longest.mul_f64(fastrand::f64())).await;
}
