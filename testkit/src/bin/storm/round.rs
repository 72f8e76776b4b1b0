//! Plays a round: the server, its clients, its hostile peers, and what freezes and stops it.

use crate::fault::last_word;
use crate::plan::{Freeze, Plan};
use crate::scene::{Scene, TIMEOUT};
use fastrand::Rng;
use futures_lite::FutureExt;
use smol::{LocalExecutor, Timer};
use std::io::{Error, Result};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testkit::meter::gate::gate;
use testkit::meter::http1::{Http1, head};
use testkit::meter::tally::{Outcome, Tally};
use testkit::process::{Exit, Server};

/// The outcome of a round.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) tally: Tally,
    pub(crate) exit: Exit,
    /// Set when the process had to be killed.
    pub(crate) killed: bool,
    /// When the process could first notice the signal, and when it was last thawed.
    pub(crate) heard: Option<Instant>,
    pub(crate) thawed: Option<Instant>,
    /// What is known of each lost request.
    pub(crate) losses: Vec<String>,
}

/// Returns the path of the server, which is built beside this program.
fn program(plan: &Plan) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(plan.subject.name()))
}

pub(crate) fn play(plan: &Plan) -> Result<Played> {
    let mut command = plan.fault.command(&program(plan)?);
    command.envs(plan.environment());
    let mut server = Server::spawn(command)?;
    let scene = Scene::new(&server, plan.tls)?;
    let tally = smol::block_on(act(plan, &scene))?;
    let (heard, thawed, losses) = (scene.heard(), scene.thawed(), scene.losses());
    drop(scene);
    let killed = server.is_running();
    if killed {
        server.kill()?;
    }
    let mut exit = server.wait(TIMEOUT)?;
    exit.report = last_word(&exit.stderr).to_owned();
    Ok(Played {
        tally,
        exit,
        killed,
        heard,
        thawed,
        losses,
    })
}

async fn act(plan: &Plan, scene: &Scene<'_>) -> Result<Tally> {
    let mut rng = Rng::with_seed(plan.seed);
    let executor = LocalExecutor::new();
    let (hold, ready) = gate();
    let clients: Vec<_> = plan
        .clients
        .iter()
        .map(|client| executor.spawn(client.play(scene, rng.fork(), hold.clone())))
        .collect();
    // Dropped, with their connections, when the round is over.
    let _hostile: Vec<_> = plan
        .hostile
        .iter()
        .map(|peer| executor.spawn(peer.play(scene, rng.fork(), hold.clone())))
        .collect();
    drop(hold);
    let round = async {
        if plan.is_blocked() {
            // No request will be answered: what the handler prints shows how far the server has
            // come.
            within_timeout(blocked(scene)).await?;
        } else {
            within_timeout(ready.opened()).await?;
            within_timeout(overtaken(scene)).await?;
        }
        let freezing = executor.spawn(freezes(&plan.freezes, scene));
        Timer::after(plan.calm).await;
        scene.signal(plan.signal)?;
        if let Some(pause) = plan.again {
            Timer::after(pause).await;
            if scene.server.is_running() {
                scene.server.signal(plan.signal)?;
            }
        }
        freezing.await?;
        if plan.overslept {
            within_timeout(refused(scene)).await?;
            scene.freeze(plan.settings.grace + OVERSLEEP).await?;
        }
        let mut tally = Tally::default();
        for client in clients {
            tally += client.await?;
        }
        while scene.server.is_running() && !scene.is_over() {
            Timer::after(GLANCE).await;
        }
        Ok(tally)
    };
    executor.run(round).await
}

/// How long after the grace period a process is thawed that was frozen until then.
const OVERSLEEP: Duration = Duration::from_millis(200);
/// The time between two looks at what causes no event here.
const GLANCE: Duration = Duration::from_millis(2);

async fn freezes(freezes: &[Freeze], scene: &Scene<'_>) -> Result<()> {
    for freeze in freezes {
        Timer::after(freeze.after).await;
        scene.freeze(freeze.lasting).await?;
    }
    Ok(())
}

/// Returns once all earlier connections have been accepted: they are accepted in order.
async fn overtaken(scene: &Scene<'_>) {
    let ask = async |request: &[u8]| match scene.http1.connect().await {
        Ok(Some(stream)) => matches!(
            Http1::new(stream).ask(request).await,
            Outcome::Answered { .. }
        ),
        Ok(None) | Err(_) => false,
    };
    while !ask(&head("GET", "/", "connection: close\r\n")).await {}
}

/// Returns once a handler has said that it blocks its thread.
async fn blocked(scene: &Scene<'_>) {
    let said = || scene.server.wait_for_stderr("blocking", Duration::ZERO);
    while said().is_err() {
        Timer::after(GLANCE).await;
    }
}

/// Returns once no connection is accepted, or the process has ended.
async fn refused(scene: &Scene<'_>) {
    let soon = Duration::from_millis(30);
    while scene.server.is_running() && TcpStream::connect_timeout(&scene.addr(), soon).is_ok() {
        Timer::after(GLANCE).await;
    }
}

async fn within_timeout(wait: impl Future<Output = ()>) -> Result<()> {
    let late = async {
        Timer::after(TIMEOUT).await;
        Err(Error::other("the round was not ready in time"))
    };
    let ready = async {
        wait.await;
        Ok(())
    };
    ready.or(late).await
}
