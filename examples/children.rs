//! A supervisor: each child holds a guard, gets SIGTERM when draining begins, and is killed when
//! aborting begins.
//!
//! Run with: `cargo run --example children -- 'sleep 100' 'trap "" TERM; sleep 100'`, and Ctrl-C;
//! each argument is a shell's, and `GRACE_MS` is how long a child may take to end.

use std::{
    env,
    error::Error,
    io,
    os::unix::process::CommandExt,
    pin::pin,
    process::{Command, ExitStatus},
    time::Duration,
};

use async_drain::{Drain, Guard, Report, Shutdown, signal};
use futures_lite::future::or;
use rustix::process::{Pid, Signal, kill_process_group};

fn main() -> Result<Report, Box<dyn Error>> {
    let grace = env::var("GRACE_MS").map_or(Ok(10_000), |ms| ms.parse())?;
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_millis(grace));

    for line in env::args().skip(1) {
        let guard = drain.guard()?.labeled(line.clone());
        smol::spawn(async move {
            match run(&line, &guard).await {
                Ok(status) => println!("{line}: {status}"),
                Err(error) => println!("{line}: {error}"),
            }
            drop(guard); // only now, so that the line above is printed before the exit
        })
        .detach();
    }
    println!("started");
    Ok(smol::block_on(shutdown.run(drain.until_draining())))
}

async fn run(line: &str, guard: &Guard) -> io::Result<ExitStatus> {
    let mut command = Command::new("sh");
    // A process group of its own: this program passes the terminal's Ctrl-C on, and a shell's
    // children get the signal too.
    command.args(["-c", line]).process_group(0);
    let mut command = async_process::Command::from(command);
    let mut child = command.kill_on_drop(true).spawn()?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut status = pin!(child.status());

    for (signal, told) in [
        (Signal::TERM, or_none(guard.until_draining())),
        (Signal::KILL, or_none(guard.until_aborting())),
    ] {
        // The status is polled first: until it is known, the id can't belong to another process.
        if let Some(status) = or(async { Some(status.as_mut().await) }, told).await {
            return status;
        }
        if let Some(group) = group {
            kill_process_group(group, signal)?;
        }
    }
    status.await
}

type Told = futures_lite::future::Boxed<Option<io::Result<ExitStatus>>>;

fn or_none(told: impl Future<Output = ()> + Send + 'static) -> Told {
    Box::pin(async {
        told.await;
        None
    })
}
