//! Code that runs inside a signal handler: it counts requests to stop, and ends the process.
//!
//! A handler may run at any time, in any thread, and may only call what is async-signal-safe: no
//! locks, no allocation. All code that runs in one is in this file, and only [`Counting::of`] and
//! [`default_while`] install it, so that their callers need no `unsafe`.

#[cfg(unix)]
use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering, fence},
    },
    time::Duration,
};

#[cfg(unix)]
use signal_hook::SigId;
use signal_hook::low_level;

/// A signal that arrives within this time of a request that counted is the same request.
#[cfg(unix)]
const SAME_REQUEST_MS: u32 = 250;

/// The most that the times of two handlers that run concurrently may differ.
#[cfg(unix)]
const SLACK_MS: u32 = 1000;

/// Stands for the signal of a request that none made.
#[cfg(unix)]
pub const NO_SIGNAL: i32 = -1;

/// The requests to stop: the first two, since the third ends the process.
///
/// Each stream of signals has its own, until it [joins](Self::join) those of another stream.
#[cfg(unix)]
#[derive(Debug, Default)]
pub struct Requests {
    counted: [Counted; 2],
    /// Set by [`end_at_third`](Self::end_at_third) if a third request ends the process.
    third_ends: AtomicBool,
    /// Set by [`join`](Self::join): the requests among which these count.
    joined: OnceLock<Arc<Requests>>,
}

/// One request. Both fields are zero until the handler that makes the request sets `at` and then
/// `signal`.
#[cfg(unix)]
#[derive(Debug, Default)]
struct Counted {
    /// When it was made, in milliseconds of the monotonic clock, which wrap around after 49 days.
    /// (Not all systems have atomics of 64 bits.)
    at: AtomicU32,
    signal: AtomicI32,
}

#[cfg(unix)]
impl Requests {
    /// Makes the third request end the process, from now on.
    pub fn end_at_third(&self) {
        // Relaxed: the flag publishes nothing else. Handlers that already run may miss it.
        self.third_ends.store(true, Ordering::Relaxed);
    }

    /// Makes these requests, those so far included, count among `all`, which have joined no others.
    pub fn join(&self, all: &Arc<Self>) {
        // An `Err` can't come: each stream joins once.
        let _ = self.joined.set(Arc::clone(all));
        // SeqCst: pairs with the fence in `hear`. A handler that this call overtakes, so that it
        // doesn't see `all`, has counted before: its request is found here.
        fence(Ordering::SeqCst);
        for counted in &self.counted {
            if let Some((signal, at)) = counted.get() {
                all.count(signal, at);
            }
        }
    }

    /// Counts a request that was made this long ago, e.g. one that no signal made, unless it has
    /// counted.
    pub fn count_other(&self, age: Duration) {
        let age = u32::try_from(age.as_millis()).unwrap_or(u32::MAX);
        // The caller ends the process if it is the third.
        self.count(NO_SIGNAL, now().wrapping_sub(age));
    }

    /// Returns the `n`th request, counted from zero: its signal, or [`NO_SIGNAL`], and how long ago
    /// it was made.
    pub fn get(&self, n: usize) -> Option<(i32, Duration)> {
        self.at(n, now())
    }

    fn at(&self, n: usize, now: u32) -> Option<(i32, Duration)> {
        let (signal, at) = self.counted.get(n)?.get()?;
        let age = now.wrapping_sub(at);
        let age = if age > u32::MAX - SLACK_MS { 0 } else { age };
        Some((signal, Duration::from_millis(age.into())))
    }

    /// Counts a signal, here and among the requests that these have joined. Returns the requests
    /// among which it counts, and whether it makes the third.
    ///
    /// Async-signal-safe: it uses only atomics and `OnceLock::get`, which loads one.
    fn hear(&self, signal: i32, now: u32) -> (&Self, bool) {
        let third = self.count(signal, now);
        // SeqCst: pairs with the fence in `join`.
        fence(Ordering::SeqCst);
        match self.joined.get() {
            Some(all) => (all, all.count(signal, now)),
            None => (self, third),
        }
    }

    /// Counts a request, unless it belongs to one that counted. Returns whether it makes the
    /// third request.
    fn count(&self, signal: i32, now: u32) -> bool {
        let now = now.max(1);
        for counted in &self.counted {
            // Relaxed: the exchange decides only which handler sets `at`, and publishes nothing
            // else.
            let exchanged =
                (counted.at).compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            match exchanged {
                Ok(_) => {
                    // Release: pairs with the load in `Counted::get`.
                    counted.signal.store(signal, Ordering::Release);
                    return false;
                }
                Err(at) if is_same(at, now) => return false,
                Err(_) => {}
            }
        }
        true
    }
}

#[cfg(unix)]
impl Counted {
    /// Returns the signal and its time, once both are set.
    fn get(&self) -> Option<(i32, u32)> {
        // Acquire: pairs with the store in `count`, so that `at` is that of this signal.
        let signal = self.signal.load(Ordering::Acquire);
        (signal != 0).then(|| (signal, self.at.load(Ordering::Relaxed)))
    }
}

/// Returns whether signals at these two times belong to the same request.
#[cfg(unix)]
fn is_same(at: u32, now: u32) -> bool {
    now.wrapping_sub(at).min(at.wrapping_sub(now)) < SAME_REQUEST_MS
}

/// Makes the handler of a signal count requests until this is dropped.
#[cfg(unix)]
#[derive(Debug)]
pub struct Counting(SigId);

#[cfg(unix)]
impl Counting {
    /// Counts each `signal` that arrives among `requests`, before actions that are registered
    /// later run.
    ///
    /// # Errors
    ///
    /// If the signal can't be caught.
    pub fn of(signal: i32, requests: Arc<Requests>) -> io::Result<Self> {
        register(signal, move || {
            let (all, third) = requests.hear(signal, now());
            // Relaxed: see `end_at_third`.
            if third && all.third_ends.load(Ordering::Relaxed) {
                end_process(signal);
            }
        })
        .map(Self)
    }
}

#[cfg(unix)]
impl Drop for Counting {
    fn drop(&mut self) {
        low_level::unregister(self.0);
    }
}

/// Lets `signal` take its default action whenever it arrives while `unheard` is set.
///
/// The handler is never removed: after a removal, the signal would be ignored for the rest of the
/// process's life.
///
/// # Errors
///
/// If the signal can't be caught.
#[cfg(unix)]
pub fn default_while(signal: i32, unheard: Arc<AtomicBool>) -> io::Result<()> {
    register(signal, move || {
        // SeqCst, like the stores. It is too rare to be worth a weaker order.
        if unheard.load(Ordering::SeqCst) {
            take_default_action(signal);
        }
    })
    .map(drop)
}

/// Registers an action, which must be async-signal-safe. Only the two functions above call it.
#[cfg(unix)]
fn register(signal: i32, action: impl Fn() + Send + Sync + 'static) -> io::Result<SigId> {
    if signal_hook::consts::FORBIDDEN.contains(&signal) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: both actions load and exchange atomics that an `Arc` of their own keeps alive, read
    // the monotonic clock by `clock_gettime`, and end the process by `getpid`, `sigaction`,
    // `sigprocmask`, `raise`, `abort` and `_exit`. All of these are async-signal-safe by POSIX.
    // (`OnceLock::get` never blocks: it loads an atomic.) The actions take no lock, allocate
    // nothing, drop nothing, and can't panic. The registry drops an action outside of the handler,
    // once no handler runs it.
    unsafe { low_level::register(signal, action) }
}

/// Returns the time of the monotonic clock in milliseconds, which wrap around.
#[cfg(unix)]
fn now() -> u32 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one `timespec`, which is ours. If the clock didn't exist, the time
    // would stay zero.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it wraps around on purpose"
    )]
    let (seconds, nanos) = (now.tv_sec as u32, now.tv_nsec as u32);
    seconds.wrapping_mul(1000).wrapping_add(nanos / 1_000_000)
}

/// Ends the process by the default action of `signal`, or, if that doesn't end it, by exit status
/// 128 + its number.
pub fn end_process(signal: i32) -> ! {
    take_default_action(signal);
    low_level::exit(128 + signal)
}

/// Returns the name of `signal`, e.g. `SIGTERM`, if it has one.
#[must_use]
pub fn name(signal: i32) -> Option<&'static str> {
    low_level::signal_name(signal)
}

fn take_default_action(signal: i32) {
    // The kernel doesn't deliver a signal without a handler to the first process of a container,
    // even if that process sends it.
    #[cfg(unix)]
    if std::process::id() == 1 && ends_by_default(signal) {
        low_level::exit(128 + signal);
    }
    // This fails only for unknown signals.
    let _ = low_level::emulate_default_handler(signal);
}

#[cfg(unix)]
fn ends_by_default(signal: i32) -> bool {
    use signal_hook::consts::{
        SIGCHLD, SIGCONT, SIGIO, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH,
    };
    ![
        SIGCHLD, SIGCONT, SIGIO, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH,
    ]
    .contains(&signal)
}

#[cfg(all(test, unix))]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::Requests;

    const TERM: i32 = 15;
    const INT: i32 = 2;
    const HUP: i32 = 1;

    fn seen(requests: &Requests, now: u32) -> Vec<(i32, u128)> {
        let seen = (0..3).filter_map(|n| requests.at(n, now));
        seen.map(|(signal, age)| (signal, age.as_millis()))
            .collect()
    }

    /// L4: a signal within 250 ms of the last request that counted is that request, whichever
    /// signal it is.
    #[test]
    fn a_signal_soon_after_a_request_is_the_same_request() {
        let requests = Requests::default();
        assert!(!requests.count(TERM, 1000));
        for now in [1000, 1001, 1100, 1249] {
            assert!(!requests.count(INT, now));
        }
        assert_eq!(seen(&requests, 1249), [(TERM, 249)]);
        assert!(!requests.count(INT, 1250));
        assert!(!requests.count(TERM, 1499));
        assert_eq!(seen(&requests, 2000), [(TERM, 1000), (INT, 750)]);
        assert!(requests.count(TERM, 1500));
        assert!(requests.count(TERM, 9000));
    }

    /// L4: two handlers that run at once count one request, even if the earlier one counts last.
    #[test]
    fn handlers_that_run_at_once_count_one_request() {
        let requests = Requests::default();
        assert!(!requests.count(TERM, 1002));
        assert!(!requests.count(INT, 1000));
        assert_eq!(seen(&requests, 1001), [(TERM, 0)]);
    }

    /// L4: a handler that is held up, so that a later signal counts first, counts its request.
    #[test]
    fn a_handler_that_is_held_up_counts_its_own_request() {
        let requests = Requests::default();
        assert!(!requests.count(TERM, 1250));
        assert!(!requests.count(INT, 1001));
        assert!(!requests.count(INT, 1000));
        assert_eq!(seen(&requests, 1250), [(TERM, 0), (INT, 250)]);
    }

    /// L4: requests that have joined count together, those before included, whichever came first.
    #[test]
    fn requests_that_have_joined_count_together() {
        let [all, one, other] = std::array::from_fn(|_| Arc::<Requests>::default());
        all.hear(TERM, 1000);
        one.hear(INT, 1100);
        one.join(&all);
        assert_eq!(seen(&all, 1100), [(TERM, 100)]);
        // Alone, it would be the request at 1100.
        one.hear(INT, 1349);
        other.hear(HUP, 700);
        other.join(&all);
        assert_eq!(seen(&all, 1349), [(TERM, 349), (INT, 0)]);
        for requests in [&all, &one, &other] {
            let (among, third) = requests.hear(HUP, 1600);
            assert!(third && std::ptr::eq(among, &raw const *all));
        }

        let [all, other] = std::array::from_fn(|_| Arc::<Requests>::default());
        all.hear(TERM, 1000);
        other.hear(HUP, 700);
        other.join(&all);
        assert_eq!(seen(&all, 1000), [(TERM, 0), (HUP, 300)]);
    }

    /// L4: the milliseconds wrap around once in 49 days, and may be zero.
    #[test]
    fn requests_count_across_a_wrap_of_the_clock() {
        let requests = Requests::default();
        assert!(!requests.count(TERM, u32::MAX - 99));
        assert!(!requests.count(TERM, 149));
        assert_eq!(seen(&requests, 149), [(TERM, 249)]);
        assert!(!requests.count(TERM, 150));
        assert!(requests.count(TERM, 400));
        let requests = Requests::default();
        assert!(!requests.count(TERM, 0));
        assert_eq!(requests.at(0, 1), Some((TERM, Duration::ZERO)));
    }
}
