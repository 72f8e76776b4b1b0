//! Restarts a server without refusing a connection: it holds the listener, and on SIGHUP starts the
//! next generation of the server on it. When that one is ready, the one before is told to stop.
//!
//! The listener goes down as `LISTEN_FDS` and the news comes up through `NOTIFY_SOCKET`, as with
//! systemd. Run with: `cargo build -p testkit` for a server, and `cargo run --example supervisor --
//! target/debug/hyper`. Then `kill -HUP` it as often as you like, and end it by Ctrl-C.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fs, io,
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::Stdio,
    time::Duration,
};

use async_drain::signal::{self, Signal};
use async_process::{Child, Command};
use futures_lite::{StreamExt, future::or};
use rustix::process::{Pid, Signal as Kill, kill_process};
use smol::{Async, Timer};

/// How long a generation may take until it is ready.
const START: Duration = Duration::from_secs(30);

/// Puts the listener, which comes as the standard input, where `LISTEN_FDS` says it is.
const PASS_ON: &str = r#"export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3<&0 0</dev/null"#;

fn main() -> Result<(), Box<dyn Error>> {
    let command: Vec<OsString> = env::args_os().skip(1).collect();
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let mut signals = signal::catch([Signal::Hup, Signal::Term, Signal::Int])?;
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    smol::block_on(async {
        let mut generation = 1;
        let mut current = start(&command, &listener).await?;
        println!("generation {generation}");
        while signals.next().await == Some(Signal::Hup) {
            match start(&command, &listener).await {
                Ok(next) => {
                    let mut last = std::mem::replace(&mut current, next);
                    terminate(&last)?;
                    smol::spawn(async move { last.status().await }).detach();
                    generation += 1;
                    println!("generation {generation}");
                }
                Err(error) => eprintln!("generation {generation} goes on: {error}"),
            }
        }
        terminate(&current)?;
        println!("generation {generation}: {}", current.status().await?);
        Ok(())
    })
}

/// Starts a generation, and waits until it is ready.
async fn start(command: &[OsString], listener: &TcpListener) -> io::Result<Child> {
    let path = env::temp_dir().join(format!("supervisor.{}", std::process::id()));
    let news = Async::<UnixDatagram>::bind(&path)?;
    let mut child = Command::new("sh")
        .args(["-c", PASS_ON, "sh"])
        .args(command)
        .env("NOTIFY_SOCKET", &path)
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone()?)))
        .kill_on_drop(true)
        .spawn()?;
    let ready = async {
        let mut text = [0; 4096];
        loop {
            let length = news.recv(&mut text).await?;
            let mut lines = text[..length].split(|&byte| byte == b'\n');
            if lines.any(|line| line == b"READY=1") {
                return Ok(());
            }
        }
    };
    let ended = async { Err(io::Error::other(child.status().await?.to_string())) };
    let late = async {
        Timer::after(START).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let ready = or(ready, or(ended, late)).await;
    fs::remove_file(&path)?;
    ready.map(|()| child)
}

/// Tells a generation to stop.
fn terminate(generation: &Child) -> io::Result<()> {
    let pid = i32::try_from(generation.id()).map_err(io::Error::other)?;
    Ok(kill_process(
        Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?,
        Kill::TERM,
    )?)
}
