//! Races: contenders run in short alternating rounds, so that whatever disturbs the machine
//! disturbs all of them.
//!
//! Only ratios within one race mean anything.

use std::{
    fmt, fs,
    hint::{black_box, spin_loop},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Runs an operation that many times.
pub type Batch<'a> = Box<dyn FnMut(usize) + 'a>;

/// A contender: its name, and what makes the operation for the thread of a number.
pub struct Contender<'a> {
    pub name: &'static str,
    batch: Box<dyn Fn(usize) -> Batch<'a> + Sync + 'a>,
}

impl fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Contender").field(&self.name).finish()
    }
}

impl<'a> Contender<'a> {
    /// Creates a contender. `make` is called on the thread that runs the operation, and is not
    /// timed.
    pub fn new<F, T>(name: &'static str, make: impl Fn(usize) -> F + Sync + 'a) -> Self
    where
        F: FnMut() -> T + 'a,
    {
        Self {
            name,
            batch: Box::new(move |thread| {
                let mut operation = make(thread);
                Box::new(move |times| {
                    for _ in 0..times {
                        black_box(operation());
                    }
                })
            }),
        }
    }
}

const ROUND: Duration = Duration::from_micros(200);

/// Returns the nanoseconds per operation of each contender on one thread: of its best tenth of the
/// rounds, since noise only adds.
#[must_use]
pub fn alone(contenders: &[Contender<'_>], rounds: usize) -> Vec<f64> {
    let mut samples = by_round(contenders, rounds);
    samples.iter_mut().map(|s| quantile(s, 0.1)).collect()
}

/// Returns the nanoseconds per operation of each contender on one thread, in each of the rounds.
#[must_use]
pub fn by_round(contenders: &[Contender<'_>], rounds: usize) -> Vec<Vec<f64>> {
    let mut batches: Vec<_> = contenders.iter().map(|c| (c.batch)(0)).collect();
    let times: Vec<_> = batches.iter_mut().map(|b| calibrate(b)).collect();
    let mut samples = vec![Vec::with_capacity(rounds); batches.len()];
    for round in 0..rounds {
        for i in order(round, batches.len()) {
            let start = Instant::now();
            batches[i](times[i]);
            samples[i].push(start.elapsed().as_nanos() as f64 / times[i] as f64);
        }
    }
    samples
}

/// Returns the nanoseconds per operation and thread of each contender on `threads` threads at once:
/// the median of the rounds in which no thread lost its core. (The best round would be one in which
/// the threads happened not to meet.)
///
/// It is `NaN` if the machine was too busy for even a few such rounds within the time limit.
#[must_use]
pub fn together(contenders: &[Contender<'_>], threads: usize, rounds: usize) -> Vec<f64> {
    let times: Vec<_> = (contenders.iter())
        .map(|c| calibrate(&mut (c.batch)(0)))
        .collect();
    let mut samples = vec![Vec::with_capacity(rounds); contenders.len()];
    let start = Instant::now();
    for round in 0.. {
        if samples.iter().all(|s| s.len() >= rounds) || start.elapsed() > TIME_LIMIT {
            break;
        }
        for i in order(round, contenders.len()) {
            if let Some(elapsed) = one_together(&contenders[i], threads, times[i]) {
                samples[i].push(elapsed / times[i] as f64);
            }
        }
    }
    (samples.iter_mut())
        .map(|s| {
            if s.len() < FEW {
                f64::NAN
            } else {
                quantile(s, 0.5)
            }
        })
        .collect()
}

const TIME_LIMIT: Duration = Duration::from_secs(20);
const FEW: usize = 7;

fn one_together(contender: &Contender<'_>, threads: usize, times: usize) -> Option<f64> {
    let ready = AtomicUsize::new(0);
    let ready = &ready;
    let run = move |thread| {
        let mut batch = (contender.batch)(thread);
        batch(16);
        // Spinning, so that all start within nanoseconds of each other.
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < threads {
            spin_loop();
        }
        let switches = context_switches();
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < 2 * threads {
            spin_loop();
        }
        let start = Instant::now();
        batch(times);
        let elapsed = start.elapsed().as_nanos() as f64;
        (context_switches() == switches).then_some(elapsed)
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || run(thread)))
            .collect();
        let elapsed: Vec<_> = (running.into_iter())
            .map(|r| r.join().expect("a batch"))
            .collect();
        let sum = elapsed.into_iter().sum::<Option<f64>>()?;
        Some(sum / threads as f64)
    })
}

/// Returns how often this thread lost its core to another, not how often it slept in a lock of the
/// contender. Linux only; zero elsewhere.
fn context_switches() -> u64 {
    let Ok(status) = fs::read_to_string("/proc/thread-self/status") else {
        return 0;
    };
    let mut lines = status.lines();
    let count = lines.find_map(|l| l.strip_prefix("nonvoluntary_ctxt_switches:"));
    count.and_then(|c| c.trim().parse().ok()).unwrap_or(0)
}

/// Returns how often the operation runs in one round.
fn calibrate(batch: &mut Batch<'_>) -> usize {
    let mut times = 1;
    loop {
        let start = Instant::now();
        batch(times);
        let elapsed = start.elapsed();
        if elapsed > ROUND / 4 {
            return (times as f64 * ROUND.as_secs_f64() / elapsed.as_secs_f64()) as usize + 1;
        }
        times *= 2;
    }
}

/// Returns the order of a round, which differs between rounds: none always comes after the same
/// one.
pub fn order(round: usize, len: usize) -> impl Iterator<Item = usize> {
    (0..len).map(move |i| {
        if round % 2 == 0 {
            (i + round / 2) % len
        } else {
            (len - 1 - i + round / 2) % len
        }
    })
}

pub fn quantile(samples: &mut [f64], q: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[((samples.len() - 1) as f64 * q) as usize]
}
