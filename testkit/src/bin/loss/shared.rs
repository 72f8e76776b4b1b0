//! Two generations of a server on one listening socket, which this program has made and passed on:
//! when the first is told to stop, no client may notice.

use crate::round::{Round, TIMEOUT};
use futures_lite::future::poll_once;
use rustix::process::Signal;
use smol::Timer;
use std::io::{ErrorKind, Result};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::meter::gate::Hold;
use testkit::meter::http1::{Http1, head};
use testkit::meter::tally::{Cause, Expected, Loss, Outcome, Tally};
use testkit::process::Server;

/// How the listener is passed on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Passed {
    /// As systemd does it: `LISTEN_FDS` names it.
    Declared,
    /// As a plain descriptor.
    Undeclared,
}

/// How long the clients go on when the first generation has gone: a SYN that it had dropped is sent
/// again after a second.
const AFTERWARDS: Duration = Duration::from_millis(1500);
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(5);

/// A listener that outlives the servers.
pub(crate) struct Socket {
    listener: TcpListener,
    passed: Passed,
}

impl Socket {
    pub(crate) fn bind(passed: Passed) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        Ok(Self { listener, passed })
    }

    /// Starts a generation with this command.
    pub(crate) fn start(&self, command: &Command) -> Result<Server> {
        let variables = match self.passed {
            Passed::Declared => "LISTEN_PID=$$ LISTEN_FDS=1",
            Passed::Undeclared => "INHERIT_FD=3",
        };
        let script = format!("export {variables}; exec \"$0\" \"$@\" 3<&0 0</dev/null");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script);
        shell.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        let inherited = OwnedFd::from(self.listener.try_clone()?);
        Server::spawn_with(Stdio::from(inherited), shell)
    }
}

/// Lets the clients connect for each request, and tells the first generation to stop in their
/// midst.
pub(crate) async fn run(round: &Round<'_>) -> Result<Tally> {
    round
        .play(|hold| client(round, hold), async { round.signal() })
        .await
}

async fn client(round: &Round<'_>, hold: Hold) -> Result<Tally> {
    let mut hold = Some(hold);
    let mut tally = Tally::default();
    let request = head("GET", "/", "connection: close\r\n");
    let mut over = pin!(async {
        while round.server.is_running() && !round.is_over() {
            Timer::after(PAUSE).await;
        }
        Timer::after(AFTERWARDS).await;
    });
    while poll_once(over.as_mut()).await.is_none() {
        let outcome = match round.target.connect().await? {
            Some(stream) => {
                tally.connections += 1;
                Http1::new(stream).ask(&request).await
            }
            // The next generation is there all the time: no connection may be refused.
            None => Outcome::Lost(Loss {
                cause: Cause::Other(ErrorKind::ConnectionRefused),
                received: 0,
            }),
        };
        round.record(&mut tally, outcome, Expected::OK)?;
        hold.take();
        Timer::after(PAUSE).await;
    }
    Ok(tally)
}

/// Ends the second generation, which has nothing to do with what was measured.
pub(crate) fn dismiss(mut server: Server) -> Result<()> {
    server.signal(Signal::TERM)?;
    server.wait(TIMEOUT)?;
    Ok(())
}
