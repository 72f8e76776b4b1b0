//! What a process holds: descriptors, threads and memory.

use std::{
    alloc::System,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How long other threads may take to release what they hold.
const SETTLED: Duration = Duration::from_secs(5);
/// Queues consist of blocks that are allocated as a whole, so what they hold varies a little.
const QUEUES: usize = 2048;
/// The allocator keeps memory for itself, within bounds: the kernel's count is a second measure.
const RESIDENT: usize = 8 << 20;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    descriptors: usize,
    threads: usize,
    heap: usize,
    resident: usize,
}

impl Level {
    fn now() -> Self {
        let stats = ALLOCATOR.stats();
        Self {
            descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
            heap: stats.bytes_allocated - stats.bytes_deallocated,
            resident: resident(),
        }
    }

    /// Returns the level once it has been stable for a while. No event tells when another thread
    /// has released everything.
    pub(crate) fn settled() -> Self {
        let start = Instant::now();
        let mut level = Self::now();
        loop {
            thread::sleep(Duration::from_millis(50));
            let now = Self::now();
            let same = (now.descriptors, now.threads, now.heap)
                == (level.descriptors, level.threads, level.heap);
            if same || start.elapsed() > SETTLED {
                return now;
            }
            level = now;
        }
    }

    /// Fails with what has stayed too high for too long.
    pub(crate) fn assert_is_back(self) {
        let start = Instant::now();
        loop {
            let Some(more) = self.more() else {
                println!("{self:?} before, {:?} after", Self::now());
                return;
            };
            assert!(
                start.elapsed() < SETTLED,
                "{more} are left over: {self:?} before, {:?} after",
                Self::now()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn more(self) -> Option<&'static str> {
        let now = Self::now();
        [
            (now.descriptors > self.descriptors, "descriptors"),
            (now.threads > self.threads, "threads"),
            (now.heap > self.heap + QUEUES, "bytes on the heap"),
            (now.resident > self.resident + RESIDENT, "resident bytes"),
        ]
        .into_iter()
        .find_map(|(more, what)| more.then_some(what))
    }
}

fn entries(directory: impl AsRef<Path>) -> usize {
    fs::read_dir(directory).expect("proc is mounted").count()
}

fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("proc is mounted");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a second number") * rustix::param::page_size()
}
