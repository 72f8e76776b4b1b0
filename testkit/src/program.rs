//! A program of public operations, run on the real types and on a model of a few lines, which must
//! agree after each call. The tests of the core make programs at random, and so does the
//! fuzzer.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use async_drain::{
    Aborted, Drain, Guard, Phase, Report,
    futures::{
        RunUntilAborting, RunUntilDraining, UntilAborting, UntilDrained, UntilDraining,
        UntilLameDuck,
    },
};
use futures_lite::Stream;

use crate::polling::{Wakes, ready};

/// One call. The numbers select one of the existing objects, by remainder.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Op {
    Guard { of: u8, elsewhere: bool },
    Admit { of: u8, elsewhere: bool },
    CloneGuard { which: u8 },
    LabelGuard { which: u8 },
    DropGuard { which: u8, elsewhere: bool },
    LameDuck { of: u8 },
    Begin { of: u8 },
    BeginBy { of: u8, seconds: u8 },
    Abort { of: u8 },
    Child { of: u8 },
    CloneHandle { which: u8 },
    DropHandle { which: u8 },
    Wait { of: u8, phase: u8 },
    WaitByGuard { which: u8, aborting: bool },
    Block { of: u8, phase: u8 },
    Repoll { which: u8, same_task: bool },
    DropWait { which: u8 },
    Carry { which: u8, how: How, stream: bool },
    PollCarried { which: u8, ready: bool },
    DropCarried { which: u8 },
    Finish { of: u8 },
    PollFinish { which: u8, time_is_up: bool },
    DropFinish { which: u8 },
    Show { of: u8 },
}

/// What carries the work: the methods `wrap`, `run_until_draining` and `run_until_aborting`.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum How {
    Guarded,
    UntilDraining { by_guard: bool },
    UntilAborting { by_guard: bool },
}

/// The expected state of a drain: the phase that was asked for, its guards and handles, and its
/// parent.
#[derive(Debug)]
struct Model {
    asked: Phase,
    guards: usize,
    handles: usize,
    parent: Option<usize>,
    deadline: Option<Instant>,
    /// How much work of this drain, and of children that have ended, was abandoned.
    abandoned: usize,
    ended: bool,
}

#[derive(Debug, Default)]
struct Models(Vec<Model>);

impl Models {
    fn below(&self, of: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len()).filter(move |&child| self.0[child].parent == Some(of))
    }

    fn phase(&self, of: usize) -> Phase {
        let held = self.0[of].guards > 0
            || self
                .below(of)
                .any(|child| self.phase(child) < Phase::Drained);
        match self.0[of].asked {
            asked if asked < Phase::Draining || held => asked,
            _ => Phase::Drained,
        }
    }

    fn in_flight(&self, of: usize) -> usize {
        self.0[of].guards
            + self
                .below(of)
                .map(|child| self.in_flight(child))
                .sum::<usize>()
    }

    /// Returns how much work the report of `of` calls abandoned.
    fn abandoned(&self, of: usize) -> usize {
        let below = self.below(of).filter(|&child| !self.0[child].ended);
        self.0[of].abandoned + below.map(|child| self.abandoned(child)).sum::<usize>()
    }

    /// Adds the record of each drained child to a parent that is shutting down.
    fn end(&mut self) {
        // Children come after their parents.
        for of in (0..self.0.len()).rev() {
            if self.0[of].ended || self.phase(of) < Phase::Drained {
                continue;
            }
            self.0[of].ended = true;
            if let Some(parent) = self.0[of].parent {
                if self.phase(parent) > Phase::Running {
                    self.0[parent].abandoned += self.0[of].abandoned;
                }
            }
        }
    }

    /// Returns whether the call moved `of`. A drained child has left the tree and is not reached.
    fn raise(&mut self, of: usize, phase: Phase, deadline: Option<Instant>) -> bool {
        let before = self.phase(of);
        let below: Vec<_> = self
            .below(of)
            .filter(|&child| self.phase(child) < Phase::Drained)
            .collect();
        if before < phase || deadline.is_some() {
            for child in below {
                self.raise(child, phase, deadline);
            }
        }
        let model = &mut self.0[of];
        if before < Phase::Aborting && phase == Phase::Aborting {
            model.abandoned += model.guards;
        }
        model.asked = model.asked.max(phase);
        model.deadline = model.deadline.into_iter().chain(deadline).min();
        before < phase
    }
}

/// Returns the index of one of `things`, if there are any.
fn pick<T>(things: &[T], which: u8) -> Option<usize> {
    (!things.is_empty()).then(|| usize::from(which) % things.len())
}

enum Wait {
    LameDuck(UntilLameDuck),
    Draining(UntilDraining),
    Aborting(UntilAborting),
    Drained(UntilDrained),
}

impl Wait {
    fn of(drain: &Drain, phase: u8) -> (Phase, Self) {
        match phase % 4 {
            0 => (Phase::LameDuck, Self::LameDuck(drain.until_lame_duck())),
            1 => (Phase::Draining, Self::Draining(drain.until_draining())),
            2 => (Phase::Aborting, Self::Aborting(drain.until_aborting())),
            _ => (Phase::Drained, Self::Drained(drain.until_drained())),
        }
    }

    /// Blocks for no time, and returns whether the phase was reached.
    fn block(self) -> bool {
        match self {
            Self::LameDuck(wait) => wait.wait_timeout(Duration::ZERO),
            Self::Draining(wait) => wait.wait_timeout(Duration::ZERO),
            Self::Aborting(wait) => wait.wait_timeout(Duration::ZERO),
            Self::Drained(wait) => wait.wait_timeout(Duration::ZERO),
        }
    }

    fn poll(&mut self, waker: &Waker) -> bool {
        match self {
            Self::LameDuck(wait) => ready(&mut Pin::new(wait), waker),
            Self::Draining(wait) => ready(&mut Pin::new(wait), waker),
            Self::Aborting(wait) => ready(&mut Pin::new(wait), waker),
            Self::Drained(wait) => ready(&mut Pin::new(wait), waker),
        }
    }
}

struct Waiting {
    of: usize,
    phase: Phase,
    wait: Wait,
    task: (Arc<Wakes>, Waker),
    /// Set when the current task was pending, and so is in the list.
    listed: bool,
}

/// The work inside a wrapper: whether it is ready, and whether it was dropped.
#[derive(Clone, Default)]
struct Inner(Arc<(AtomicBool, AtomicBool)>);

impl Inner {
    fn is_gone(&self) -> bool {
        self.0.1.load(Ordering::SeqCst)
    }

    fn poll(&self) -> Poll<()> {
        if self.0.0.load(Ordering::SeqCst) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// The work as a future.
struct Work(Inner);

impl Future for Work {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0.poll()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.0.1.store(true, Ordering::SeqCst);
    }
}

/// The work as a stream, which never ends by itself.
struct Items(Work);

impl Stream for Items {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
        self.0.0.poll().map(Some)
    }
}

/// The result of polling a wrapper, of a future or of a stream.
#[derive(Debug, PartialEq)]
enum Seen {
    Nothing,
    Output,
    End,
    Cut,
}

type Carrier = Box<dyn FnMut(&mut Context<'_>) -> Seen>;

#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Carried {
    of: usize,
    how: How,
    stream: bool,
    inner: Inner,
    poll: Carrier,
    task: (Arc<Wakes>, Waker),
    listed: bool,
    /// Set when the wrapper is terminated before its phase, or has nothing left to yield after it:
    /// a future that has yielded its output, a stream that has yielded its error.
    done: bool,
}

impl Carried {
    /// Returns the phase that ends the wrapper.
    fn end(&self) -> Option<Phase> {
        match self.how {
            How::Guarded => None,
            How::UntilDraining { .. } => Some(Phase::Draining),
            How::UntilAborting { .. } => Some(Phase::Aborting),
        }
    }
}

fn seen<T>(poll: Poll<T>, output: impl FnOnce(T) -> Seen) -> Seen {
    match poll {
        Poll::Pending => Seen::Nothing,
        Poll::Ready(ready) => output(ready),
    }
}

fn item(next: Option<()>) -> Seen {
    next.map_or(Seen::End, |()| Seen::Output)
}

fn guarded(inner: &Inner, stream: bool, guard: Guard) -> Carrier {
    let work = Work(inner.clone());
    if stream {
        let mut items = Box::pin(guard.wrap(Items(work)));
        Box::new(move |cx| seen(items.as_mut().poll_next(cx), item))
    } else {
        let mut work = Box::pin(guard.wrap(work));
        Box::new(move |cx| seen(work.as_mut().poll(cx), |()| Seen::Output))
    }
}

/// A handle that runs work until a phase.
trait Runs {
    fn draining<T>(&self, work: T) -> RunUntilDraining<T>;
    fn aborting<T>(&self, work: T) -> RunUntilAborting<T>;
}

impl Runs for Drain {
    fn draining<T>(&self, work: T) -> RunUntilDraining<T> {
        // An observer does the same.
        self.observer().run_until_draining(work)
    }

    fn aborting<T>(&self, work: T) -> RunUntilAborting<T> {
        self.run_until_aborting(work)
    }
}

impl Runs for Guard {
    fn draining<T>(&self, work: T) -> RunUntilDraining<T> {
        self.run_until_draining(work)
    }

    fn aborting<T>(&self, work: T) -> RunUntilAborting<T> {
        self.run_until_aborting(work)
    }
}

fn until_draining(inner: &Inner, stream: bool, drain: &impl Runs) -> Carrier {
    let work = Work(inner.clone());
    if stream {
        let mut items = Box::pin(drain.draining(Items(work)));
        Box::new(move |cx| seen(items.as_mut().poll_next(cx), item))
    } else {
        let mut work = Box::pin(drain.draining(work));
        Box::new(move |cx| seen(work.as_mut().poll(cx), item))
    }
}

fn until_aborting(inner: &Inner, stream: bool, drain: &impl Runs) -> Carrier {
    let work = Work(inner.clone());
    let output = |result| match result {
        Ok(()) => Seen::Output,
        Err(Aborted { .. }) => Seen::Cut,
    };
    if stream {
        let mut items = Box::pin(drain.aborting(Items(work)));
        Box::new(move |cx| {
            seen(items.as_mut().poll_next(cx), |next| {
                next.map_or(Seen::End, output)
            })
        })
    } else {
        let mut work = Box::pin(drain.aborting(work));
        Box::new(move |cx| seen(work.as_mut().poll(cx), output))
    }
}

struct Finishing {
    of: usize,
    finish: Pin<Box<dyn Future<Output = Report>>>,
    timer: Inner,
    task: (Arc<Wakes>, Waker),
    listed: bool,
}

#[derive(Default)]
pub struct Program {
    models: Models,
    handles: Vec<(usize, Drain)>,
    guards: Vec<(usize, Guard)>,
    waits: Vec<Waiting>,
    carried: Vec<Carried>,
    finishing: Vec<Finishing>,
}

impl Program {
    /// Runs `ops` on a new drain, and then ends the drain.
    pub fn check(track: bool, shards: u8, ops: impl IntoIterator<Item = Op>) {
        let epoch = Instant::now();
        let mut program = Self::default();
        let shards = usize::from(shards % 4) + 1;
        let drain = Drain::with_shards(shards, track);
        let model = Model {
            asked: Phase::Running,
            guards: 0,
            handles: 1,
            parent: None,
            deadline: None,
            abandoned: 0,
            ended: false,
        };
        program.add(drain, model);
        for op in ops {
            program.run(op, epoch);
            program.models.end();
            program.agree();
        }
        program.finish();
    }

    fn add(&mut self, drain: Drain, model: Model) {
        self.handles.push((self.models.0.len(), drain));
        self.models.0.push(model);
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each operation")]
    fn run(&mut self, op: Op, epoch: Instant) {
        if self.handles.is_empty() {
            return;
        }
        let handle = |of: u8| &self.handles[usize::from(of) % self.handles.len()];
        match op {
            Op::Guard { of, elsewhere } => {
                let (id, drain) = handle(of);
                let id = *id;
                let made = on_thread(elsewhere, || drain.guard()).ok();
                assert_eq!(made.is_some(), self.models.phase(id) < Phase::Drained);
                self.keep(id, made);
            }
            Op::Admit { of, elsewhere } => {
                let (id, drain) = handle(of);
                let (id, phase) = (*id, self.models.phase(*id));
                let made = on_thread(elsewhere, || drain.admit());
                assert_eq!(made.is_ok(), phase < Phase::Draining);
                if let Err(refused) = &made {
                    assert_eq!(refused.phase(), phase);
                }
                self.keep(id, made.ok());
            }
            Op::CloneGuard { which } => {
                if let Some(which) = pick(&self.guards, which) {
                    let (id, guard) = &self.guards[which];
                    let (id, clone) = (*id, guard.clone());
                    self.keep(id, Some(clone));
                }
            }
            Op::LabelGuard { which } => {
                if let Some(which) = pick(&self.guards, which) {
                    let (id, guard) = self.guards.swap_remove(which);
                    let guard = guard.labeled("labeled");
                    self.guards.push((id, guard));
                }
            }
            Op::DropGuard { which, elsewhere } => {
                if let Some(which) = pick(&self.guards, which) {
                    let (id, guard) = self.guards.swap_remove(which);
                    self.models.0[id].guards -= 1;
                    on_thread(elsewhere, || drop(guard));
                }
            }
            Op::LameDuck { of } => {
                let (id, drain) = handle(of);
                assert_eq!(
                    drain.enter_lame_duck(),
                    self.models.raise(*id, Phase::LameDuck, None)
                );
            }
            Op::Begin { of } => {
                let (id, drain) = handle(of);
                assert_eq!(drain.begin(), self.models.raise(*id, Phase::Draining, None));
            }
            Op::BeginBy { of, seconds } => {
                let by = epoch + Duration::from_secs(seconds.into());
                let (id, drain) = handle(of);
                assert_eq!(
                    drain.begin_with_deadline(by),
                    self.models.raise(*id, Phase::Draining, Some(by))
                );
            }
            Op::Abort { of } => {
                let (id, drain) = handle(of);
                assert_eq!(drain.abort(), self.models.raise(*id, Phase::Aborting, None));
            }
            Op::Child { of } => {
                let (id, drain) = handle(of);
                let phase = self.models.phase(*id);
                let model = Model {
                    asked: phase.min(Phase::Aborting),
                    guards: 0,
                    handles: 1,
                    parent: (phase < Phase::Drained).then_some(*id),
                    deadline: self.models.0[*id].deadline,
                    abandoned: 0,
                    ended: false,
                };
                let child = drain.child();
                self.add(child, model);
            }
            Op::CloneHandle { which } => {
                let (id, drain) = handle(which);
                self.models.0[*id].handles += 1;
                let clone = (*id, drain.clone());
                self.handles.push(clone);
            }
            Op::DropHandle { which } => {
                if let Some(which) = pick(&self.handles, which) {
                    let (id, drain) = self.handles.swap_remove(which);
                    self.forget_handle(id);
                    drop(drain);
                }
            }
            Op::Wait { of, phase } => {
                let (id, drain) = handle(of);
                let (id, (phase, wait)) = (*id, Wait::of(drain, phase));
                self.wait(id, phase, wait);
            }
            Op::WaitByGuard { which, aborting } => {
                if let Some(which) = pick(&self.guards, which) {
                    let (id, guard) = &self.guards[which];
                    let (phase, wait) = if aborting {
                        (Phase::Aborting, Wait::Aborting(guard.until_aborting()))
                    } else {
                        (Phase::Draining, Wait::Draining(guard.until_draining()))
                    };
                    self.wait(*id, phase, wait);
                }
            }
            Op::Block { of, phase } => {
                let (id, drain) = handle(of);
                let (phase, wait) = Wait::of(drain, phase);
                assert_eq!(wait.block(), self.models.phase(*id) >= phase);
            }
            Op::Repoll { which, same_task } => {
                if let Some(which) = pick(&self.waits, which) {
                    if !same_task {
                        self.waits[which].task = Wakes::new();
                        self.waits[which].listed = false;
                    }
                    self.poll(which);
                }
            }
            Op::DropWait { which } => {
                if let Some(which) = pick(&self.waits, which) {
                    let gone = self.waits.swap_remove(which);
                    drop(gone.wait);
                }
            }
            Op::Carry { which, how, stream } => self.carry(which, how, stream),
            Op::PollCarried { which, ready } => {
                if let Some(which) = pick(&self.carried, which) {
                    self.poll_carried(which, ready);
                }
            }
            Op::DropCarried { which } => {
                if let Some(which) = pick(&self.carried, which) {
                    let carried = self.carried.swap_remove(which);
                    if let How::Guarded = carried.how {
                        self.models.0[carried.of].guards -= 1;
                    }
                    drop(carried.poll);
                    assert!(carried.inner.is_gone());
                }
            }
            Op::Finish { of } => {
                let (id, drain) = handle(of);
                let (id, drain, timer) = (*id, drain.clone(), Inner::default());
                self.models.0[id].handles += 1;
                let time = Work(timer.clone());
                self.finishing.push(Finishing {
                    of: id,
                    finish: Box::pin(async move { drain.finish(time).await }),
                    timer,
                    task: Wakes::new(),
                    listed: false,
                });
            }
            Op::PollFinish { which, time_is_up } => {
                if let Some(which) = pick(&self.finishing, which) {
                    self.poll_finish(which, time_is_up);
                }
            }
            Op::DropFinish { which } => {
                if let Some(which) = pick(&self.finishing, which) {
                    let gone = self.finishing.swap_remove(which);
                    self.forget_handle(gone.of);
                    drop(gone.finish);
                }
            }
            Op::Show { of } => {
                let (id, drain) = handle(of);
                let (phase, count) = (self.models.phase(*id), self.models.in_flight(*id));
                let shown = format!("Drain {{ phase: {phase:?}, in_flight: {count}, .. }}");
                assert_eq!(format!("{drain:?}"), shown);
                assert_eq!(drain.stragglers().to_string().is_empty(), count == 0);
            }
        }
    }

    /// Accounts for a handle of `id` that is about to be dropped.
    fn forget_handle(&mut self, id: usize) {
        self.models.0[id].handles -= 1;
        if self.models.0[id].handles == 0 {
            self.models.raise(id, Phase::Draining, None);
        }
    }

    fn wait(&mut self, of: usize, phase: Phase, wait: Wait) {
        self.waits.push(Waiting {
            of,
            phase,
            wait,
            task: Wakes::new(),
            listed: false,
        });
        self.poll(self.waits.len() - 1);
    }

    fn carry(&mut self, which: u8, how: How, stream: bool) {
        let inner = Inner::default();
        let handle = pick(&self.handles, which).map(|which| &self.handles[which]);
        let guard = pick(&self.guards, which);
        let of_guard = guard.map(|which| &self.guards[which]);
        let (of, poll) = match (how, handle, of_guard) {
            (How::Guarded, _, Some(_)) => {
                let (id, guard) = self.guards.swap_remove(guard.unwrap_or(0));
                (id, guarded(&inner, stream, guard))
            }
            (How::UntilDraining { by_guard: true }, _, Some((id, guard))) => {
                (*id, until_draining(&inner, stream, guard))
            }
            (How::UntilAborting { by_guard: true }, _, Some((id, guard))) => {
                (*id, until_aborting(&inner, stream, guard))
            }
            (How::UntilDraining { by_guard: false }, Some((id, drain)), _) => {
                (*id, until_draining(&inner, stream, drain))
            }
            (How::UntilAborting { by_guard: false }, Some((id, drain)), _) => {
                (*id, until_aborting(&inner, stream, drain))
            }
            _ => return,
        };
        self.carried.push(Carried {
            of,
            how,
            stream,
            inner,
            poll,
            task: Wakes::new(),
            listed: false,
            done: false,
        });
    }

    fn poll_carried(&mut self, which: usize, ready: bool) {
        let carried = &mut self.carried[which];
        carried.inner.0.0.store(ready, Ordering::SeqCst);
        let phase = self.models.phase(carried.of);
        let over = carried.end().is_some_and(|end| phase >= end);
        let expected = match carried.how {
            How::UntilDraining { .. } if over => Seen::End,
            How::UntilAborting { .. } if over && carried.stream && carried.done => Seen::End,
            How::UntilDraining { .. } if carried.done => Seen::End,
            How::UntilAborting { .. } if over || carried.done => Seen::Cut,
            _ if ready => Seen::Output,
            _ => Seen::Nothing,
        };
        let seen = (carried.poll)(&mut Context::from_waker(&carried.task.1));
        assert_eq!(seen, expected);
        let last = if carried.stream {
            Seen::Cut
        } else {
            Seen::Output
        };
        carried.done |= carried.end().is_some() && seen == last;
        carried.listed |= carried.end().is_some() && seen == Seen::Nothing;
        assert_eq!(carried.inner.is_gone(), over || carried.done);
    }

    fn poll_finish(&mut self, which: usize, time_is_up: bool) {
        let finishing = &mut self.finishing[which];
        let of = finishing.of;
        finishing.timer.0.0.store(time_is_up, Ordering::SeqCst);
        self.models.raise(of, Phase::Draining, None);
        let drained = self.models.phase(of) == Phase::Drained;
        let left = self.models.in_flight(of);
        let mut cx = Context::from_waker(&finishing.task.1);
        let report = finishing.finish.as_mut().poll(&mut cx);
        assert_eq!(report.is_ready(), drained || time_is_up);
        let Poll::Ready(report) = report else {
            finishing.listed = true;
            return;
        };
        if !drained {
            self.models.raise(of, Phase::Aborting, None);
        }
        self.models.end();
        let abandoned = self.models.abandoned(of);
        assert_eq!(report.is_drained(), abandoned == 0);
        assert_eq!(report.stragglers().total(), abandoned);
        assert_eq!(report.still_running(), left.min(abandoned));
        self.finishing.swap_remove(which);
        self.forget_handle(of);
    }

    fn keep(&mut self, id: usize, guard: Option<Guard>) {
        if let Some(guard) = guard {
            self.models.0[id].guards += 1;
            self.guards.push((id, guard));
        }
    }

    fn poll(&mut self, which: usize) {
        let waiting = &mut self.waits[which];
        let reached = self.models.phase(waiting.of) >= waiting.phase;
        assert_eq!(waiting.wait.poll(&waiting.task.1), reached);
        waiting.listed |= !reached;
    }

    /// Asserts that all that can be seen agrees with the model.
    fn agree(&self) {
        for (id, drain) in &self.handles {
            let phase = self.models.phase(*id);
            assert_eq!(drain.phase(), phase);
            assert_eq!(drain.is_draining(), phase >= Phase::Draining);
            assert_eq!(drain.in_flight(), self.models.in_flight(*id));
            assert_eq!(drain.stragglers().total(), self.models.in_flight(*id));
            assert_eq!(drain.deadline(), self.models.0[*id].deadline);
        }
        for (id, guard) in &self.guards {
            assert_eq!(
                guard.is_draining(),
                self.models.phase(*id) >= Phase::Draining
            );
            assert_eq!(guard.deadline(), self.models.0[*id].deadline);
        }
        for waiting in &self.waits {
            let due = waiting.listed && self.models.phase(waiting.of) >= waiting.phase;
            assert_eq!(waiting.task.0.count(), usize::from(due));
        }
        for carried in &self.carried {
            let phase = self.models.phase(carried.of);
            let due = carried.listed && carried.end().is_some_and(|end| phase >= end);
            assert_eq!(carried.task.0.count(), usize::from(due));
        }
        for finishing in &self.finishing {
            let due = finishing.listed && self.models.phase(finishing.of) == Phase::Drained;
            assert_eq!(finishing.task.0.count(), usize::from(due));
        }
    }

    /// Ends the drain, which must be possible from any state.
    fn finish(mut self) {
        self.finishing.clear();
        self.carried.clear();
        self.handles.clear();
        self.guards.clear();
        for model in &mut self.models.0 {
            model.guards = 0;
            model.asked = model.asked.max(Phase::Draining);
        }
        self.agree();
        for which in 0..self.waits.len() {
            self.poll(which);
            assert!(self.waits[which].wait.poll(Waker::noop()));
        }
    }
}

/// A new thread may have another shard.
fn on_thread<T: Send>(elsewhere: bool, make: impl FnOnce() -> T + Send) -> T {
    if elsewhere {
        thread::scope(|s| s.spawn(make).join().unwrap())
    } else {
        make()
    }
}
