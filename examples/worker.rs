//! Workers on a channel: when draining begins they take no more jobs, finish those that they have
//! taken, and the program prints how many are left.
//!
//! Run with: `cargo run --example worker`, and Ctrl-C; `GRACE_MS` is how long jobs that were taken
//! may last.

use std::{env, error::Error, time::Duration};

use async_channel::{Receiver, Sender};
use async_drain::{Drain, Report, Shutdown, signal};
use smol::Timer;

const WORKERS: usize = 2;

struct Job(u64);

fn main() -> Result<Report, Box<dyn Error>> {
    let grace = env::var("GRACE_MS").map_or(Ok(10_000), |ms| ms.parse())?;
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_millis(grace));

    let (sender, queue) = async_channel::unbounded();
    for _ in 0..WORKERS {
        smol::spawn(worker(drain.clone(), queue.clone())).detach();
    }
    // The producer plays the server: it ends when draining begins.
    let server = async {
        drain.run_until_draining(produce(sender)).await;
    };
    let report = smol::block_on(shutdown.run(server));
    // A persistent queue would keep these: no worker has begun them.
    println!("{} jobs stay in the queue", queue.len());
    Ok(report)
}

/// Produces more jobs than the workers can do.
async fn produce(queue: Sender<Job>) {
    for number in 0.. {
        if queue.send(Job(number)).await.is_err() {
            break;
        }
        Timer::after(Duration::from_millis(10)).await;
    }
}

async fn worker(drain: Drain, queue: Receiver<Job>) {
    // The guard is taken before the job, so that no job is taken without one.
    while let Ok(guard) = drain.admit() {
        let Some(Ok(job)) = guard.run_until_draining(queue.recv()).await else {
            break;
        };
        println!("taken {}", job.0);
        let guard = guard.labeled(format!("job {}", job.0));
        let done = guard.run_until_aborting(process(&job)).await;
        match done {
            Ok(()) => println!("done {}", job.0),
            Err(aborted) => println!("job {}: {aborted}", job.0),
        }
        drop(guard);
    }
}

async fn process(_: &Job) {
    Timer::after(Duration::from_millis(100)).await;
}
