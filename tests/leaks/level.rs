//! What a process has.

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

/// How long other threads may take to let go of what they have.
const SETTLED: Duration = Duration::from_secs(5);
/// Queues are made of blocks that come and go whole: what they have at a given moment differs by
/// some.
const QUEUES: usize = 2048;
/// What the allocator keeps for itself is none of ours, within bounds: the kernel's count is a
/// second witness.
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

    /// The level once it has been the same for a while. No event says when another thread has let
    /// go of the last of it.
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

    /// Fails with what has been too much for too long.
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
