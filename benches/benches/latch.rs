//! What waiting for draining costs: the first poll and the drop, polling again with the same waker
//! and with another, coming late, and work that ends at once (C4).

use std::{
    hint::black_box,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use async_drain::Drain;
use async_drain_bench::{
    figures::{Bound, Figures},
    paired::Ratios,
    race::{Contender, alone, by_round, quantile, together},
};
use crossbeam_utils::CachePadded;
use event_listener::Event;
use swansong::Swansong;
use tokio_util::sync::CancellationToken;

const OURS: &str = "async-drain";
const SWANSONG: &str = "swansong";
const TOKEN: &str = "CancellationToken";
const EVENT: &str = "event-listener";
const ROUNDS: usize = 300;

/// A waker that counts its owners, as an executor's does.
struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

fn waker() -> Waker {
    Waker::from(Arc::new(Task))
}

fn main() {
    let mut figures = Figures::new("latch", "time, 1 = two atomics on a private line");
    let line = AtomicUsize::new(1);
    let unit = alone(&[two_atomics(&line)], ROUNDS)[0];
    for (case, contenders) in [
        ("first poll, drop", first()),
        ("same waker again", again()),
        ("another waker", another()),
        ("ready when late", late()),
        ("work that ends at once", ends_at_once()),
    ] {
        let rounds = by_round(&contenders, ROUNDS);
        let times: Vec<_> = (rounds.iter())
            .map(|samples| quantile(&mut samples.clone(), 0.1))
            .collect();
        let mut best = None;
        for (i, contender) in contenders.iter().enumerate() {
            figures.add(case, contender.name, times[i] / unit);
            let is_peer = ![OURS, "a load"].contains(&contender.name);
            if is_peer && best.is_none_or(|best: usize| times[i] < times[best]) {
                best = Some(i);
            }
        }
        let mut ratios = Ratios::new();
        if let Some(best) = best {
            let pairs = rounds[0].iter().zip(&rounds[best]);
            pairs.for_each(|(ours, theirs)| ratios.add(*ours, *theirs));
        }
        figures.interval(
            format!("{case}, times the best peer"),
            &ratios,
            Bound::AtMost(1.0),
        );
        if let Some(load) = contenders.iter().position(|c| c.name == "a load") {
            // Beside it a poll compares two words of its own and is called through a loop that
            // can't be unrolled.
            figures.target(
                format!("{case}, in atomics beyond a load"),
                2.0 * (times[0] - times[load]) / unit,
                Bound::AtMost(0.5),
            );
        }
    }
    several_threads(&mut figures);
    figures.publish();
}

/// Measures whether waits on several cores slow each other down.
fn several_threads(figures: &mut Figures) {
    let line = [const { CachePadded::new(AtomicUsize::new(1)) }; 64];
    let mut contenders = first();
    contenders.push(Contender::new("two atomics", |thread| {
        let line = &line[thread];
        || {
            line.fetch_add(1, Ordering::Relaxed);
            line.fetch_sub(1, Ordering::Release)
        }
    }));
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(64);
    let times = together(&contenders, threads, ROUNDS / 5);
    let case = format!("first poll, drop ×{threads}");
    let unit = times[contenders.len() - 1];
    for (contender, time) in contenders.iter().zip(&times) {
        figures.add(&case, contender.name, time / unit);
    }
    let best = times[1..contenders.len() - 1].iter().copied();
    let best = best.fold(f64::NAN, f64::min);
    figures.target(
        format!("{case}, times the best peer"),
        times[0] / best,
        Bound::AtMost(1.0),
    );
}

fn two_atomics(line: &AtomicUsize) -> Contender<'_> {
    Contender::new("two atomics", |_| {
        || {
            line.fetch_add(1, Ordering::Relaxed);
            line.fetch_sub(1, Ordering::Release)
        }
    })
}

fn poll_once<F: Future>(future: F, waker: &Waker) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(waker))
}

fn first<'a>() -> Vec<Contender<'a>> {
    let (drain, swansong) = (Drain::new(), Swansong::new());
    let (token, event) = (CancellationToken::new(), Event::<()>::new());
    let event = Arc::new(event);
    vec![
        Contender::new(OURS, move |_| {
            let (drain, waker) = (drain.clone(), waker());
            move || poll_once(drain.until_draining(), &waker)
        }),
        Contender::new(SWANSONG, move |_| {
            let (swansong, waker) = (swansong.clone(), waker());
            move || poll_once(swansong.interrupt(std::future::pending::<()>()), &waker).is_ready()
        }),
        Contender::new(TOKEN, move |_| {
            let (token, waker) = (token.clone(), waker());
            move || poll_once(token.cancelled(), &waker)
        }),
        Contender::new(EVENT, move |_| {
            let (event, waker) = (Arc::clone(&event), waker());
            move || poll_once(event.listen(), &waker)
        }),
    ]
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;
type Make = fn() -> Boxed;

/// Futures that are pending for ever, each of a drain of its own that is kept.
fn pending() -> [(&'static str, Make); 4] {
    [
        (OURS, || {
            let drain = Drain::new();
            let until = drain.until_draining();
            Box::pin(Kept(until, drain))
        }),
        (SWANSONG, || {
            let swansong = Swansong::new();
            let interrupt = swansong.interrupt(std::future::pending::<()>());
            Box::pin(Kept(
                Box::pin(async move { interrupt.await.unwrap_or(()) }),
                swansong,
            ))
        }),
        (TOKEN, || {
            let token = CancellationToken::new();
            Box::pin(Kept(Box::pin(token.clone().cancelled_owned()), token))
        }),
        (EVENT, || {
            let event = Event::<()>::new();
            let listener = event.listen();
            Box::pin(Kept(listener, event))
        }),
    ]
}

/// A future beside what would resolve it if it were dropped.
struct Kept<F, K>(F, #[allow(dead_code, reason = "kept")] K);

impl<F: Future<Output = ()> + Unpin, K: Unpin> Future for Kept<F, K> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

fn again<'a>() -> Vec<Contender<'a>> {
    let mut contenders: Vec<_> = (pending().into_iter())
        .map(|(name, make)| {
            Contender::new(name, move |_| {
                let (mut future, waker) = (make(), waker());
                move || future.as_mut().poll(&mut Context::from_waker(&waker))
            })
        })
        .collect();
    contenders.push(Contender::new("a load", |_| {
        let flag: Box<dyn Fn() -> bool> = {
            let flag = AtomicBool::new(false);
            Box::new(move || flag.load(Ordering::Acquire))
        };
        let flag = black_box(flag);
        move || flag()
    }));
    contenders
}

fn another<'a>() -> Vec<Contender<'a>> {
    (pending().into_iter())
        .map(|(name, make)| {
            Contender::new(name, move |_| {
                let (mut future, mut wakers) = (make(), [waker(), waker()]);
                move || {
                    wakers.swap(0, 1);
                    future.as_mut().poll(&mut Context::from_waker(&wakers[0]))
                }
            })
        })
        .collect()
}

fn late<'a>() -> Vec<Contender<'a>> {
    let (drain, swansong, token) = (Drain::new(), Swansong::new(), CancellationToken::new());
    drain.begin();
    drop(swansong.shut_down());
    token.cancel();
    vec![
        Contender::new(OURS, move |_| {
            let (drain, waker) = (drain.clone(), waker());
            move || poll_once(drain.until_draining(), &waker)
        }),
        Contender::new(SWANSONG, move |_| {
            let (swansong, waker) = (swansong.clone(), waker());
            move || poll_once(swansong.interrupt(std::future::pending::<()>()), &waker).is_ready()
        }),
        Contender::new(TOKEN, move |_| {
            let (token, waker) = (token.clone(), waker());
            move || poll_once(token.cancelled(), &waker)
        }),
    ]
}

fn ends_at_once<'a>() -> Vec<Contender<'a>> {
    let (drain, swansong, token) = (Drain::new(), Swansong::new(), CancellationToken::new());
    let work = || std::future::ready(black_box(1_u8));
    vec![
        Contender::new(OURS, move |_| {
            let (drain, waker) = (drain.clone(), waker());
            move || poll_once(drain.run_until_draining(work()), &waker).is_ready()
        }),
        Contender::new(SWANSONG, move |_| {
            let (swansong, waker) = (swansong.clone(), waker());
            move || poll_once(swansong.interrupt(work()), &waker).is_ready()
        }),
        Contender::new(TOKEN, move |_| {
            let (token, waker) = (token.clone(), waker());
            move || poll_once(token.run_until_cancelled(work()), &waker).is_ready()
        }),
    ]
}
