//! Random programs of all public operations against a model of a few lines (S1 S2 S3 S4 S7 L1 L2).
//!
//! `PROPTEST_CASES=100000 cargo test --release --test it statemachine` is the long run.

use std::{
    pin::Pin,
    sync::Arc,
    task::Waker,
    thread,
    time::{Duration, Instant},
};

use async_drain::{Drain, Guard, Phase, UntilAborting, UntilDrained, UntilDraining, UntilLameDuck};
use proptest::prelude::*;

use crate::support::{Wakes, ready};

/// One call. The numbers choose among what there is, by remainder.
#[derive(Clone, Copy, Debug)]
enum Op {
    Guard { of: usize, elsewhere: bool },
    Admit { of: usize, elsewhere: bool },
    CloneGuard { which: usize },
    DropGuard { which: usize },
    LameDuck { of: usize },
    Begin { of: usize },
    BeginBy { of: usize, seconds: u64 },
    Abort { of: usize },
    Child { of: usize },
    CloneHandle { which: usize },
    DropHandle { which: usize },
    Wait { of: usize, phase: usize },
    Repoll { which: usize, same_task: bool },
    DropWait { which: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..64_usize;
    prop_oneof![
        4 => (n.clone(), any::<bool>()).prop_map(|(of, elsewhere)| Op::Guard { of, elsewhere }),
        2 => (n.clone(), any::<bool>()).prop_map(|(of, elsewhere)| Op::Admit { of, elsewhere }),
        2 => n.clone().prop_map(|which| Op::CloneGuard { which }),
        6 => n.clone().prop_map(|which| Op::DropGuard { which }),
        1 => n.clone().prop_map(|of| Op::LameDuck { of }),
        1 => n.clone().prop_map(|of| Op::Begin { of }),
        1 => (n.clone(), 0..9_u64).prop_map(|(of, seconds)| Op::BeginBy { of, seconds }),
        1 => n.clone().prop_map(|of| Op::Abort { of }),
        3 => n.clone().prop_map(|of| Op::Child { of }),
        1 => n.clone().prop_map(|which| Op::CloneHandle { which }),
        2 => n.clone().prop_map(|which| Op::DropHandle { which }),
        4 => (n.clone(), 1..5_usize).prop_map(|(of, phase)| Op::Wait { of, phase }),
        2 => (n.clone(), any::<bool>()).prop_map(|(which, same_task)| Op::Repoll { which, same_task }),
        1 => n.prop_map(|which| Op::DropWait { which }),
    ]
}

/// A drain as it should be: what was asked of it, what it holds, and whom it holds up.
#[derive(Debug)]
struct Model {
    asked: Phase,
    guards: usize,
    handles: usize,
    parent: Option<usize>,
    deadline: Option<Instant>,
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

    /// Returns whether it moved `of`; what has drained has left the tree and is out of reach.
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
        model.asked = model.asked.max(phase);
        model.deadline = model.deadline.into_iter().chain(deadline).min();
        before < phase
    }
}

enum Wait {
    LameDuck(UntilLameDuck),
    Draining(UntilDraining),
    Aborting(UntilAborting),
    Drained(UntilDrained),
}

impl Wait {
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
    /// Whether the present task has been told to wait.
    listed: bool,
}

#[derive(Default)]
struct Program {
    models: Models,
    handles: Vec<(usize, Drain)>,
    guards: Vec<(usize, Guard)>,
    waits: Vec<Waiting>,
}

impl Program {
    fn add(&mut self, drain: Drain, model: Model) {
        self.handles.push((self.models.0.len(), drain));
        self.models.0.push(model);
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each operation")]
    fn run(&mut self, op: Op, epoch: Instant) {
        if self.handles.is_empty() {
            return;
        }
        let handle = |of: usize| &self.handles[of % self.handles.len()];
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
                if !self.guards.is_empty() {
                    let (id, guard) = &self.guards[which % self.guards.len()];
                    let (id, clone) = (*id, guard.clone());
                    self.keep(id, Some(clone));
                }
            }
            Op::DropGuard { which } => {
                if !self.guards.is_empty() {
                    let (id, guard) = self.guards.swap_remove(which % self.guards.len());
                    self.models.0[id].guards -= 1;
                    drop(guard);
                }
            }
            Op::LameDuck { of } => {
                let (id, drain) = handle(of);
                assert_eq!(
                    drain.lame_duck(),
                    self.models.raise(*id, Phase::LameDuck, None)
                );
            }
            Op::Begin { of } => {
                let (id, drain) = handle(of);
                assert_eq!(drain.begin(), self.models.raise(*id, Phase::Draining, None));
            }
            Op::BeginBy { of, seconds } => {
                let by = epoch + Duration::from_secs(seconds);
                let (id, drain) = handle(of);
                assert_eq!(
                    drain.begin_by(by),
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
                let (id, drain) = self.handles.swap_remove(which % self.handles.len());
                self.models.0[id].handles -= 1;
                if self.models.0[id].handles == 0 {
                    self.models.raise(id, Phase::Draining, None);
                }
                drop(drain);
            }
            Op::Wait { of, phase } => {
                let (id, drain) = handle(of);
                let (phase, wait) = match phase {
                    1 => (Phase::LameDuck, Wait::LameDuck(drain.until_lame_duck())),
                    2 => (Phase::Draining, Wait::Draining(drain.until_draining())),
                    3 => (Phase::Aborting, Wait::Aborting(drain.until_aborting())),
                    _ => (Phase::Drained, Wait::Drained(drain.until_drained())),
                };
                let waiting = Waiting {
                    of: *id,
                    phase,
                    wait,
                    task: Wakes::new(),
                    listed: false,
                };
                self.waits.push(waiting);
                self.poll(self.waits.len() - 1);
            }
            Op::Repoll { which, same_task } => {
                if !self.waits.is_empty() {
                    let which = which % self.waits.len();
                    if !same_task {
                        self.waits[which].task = Wakes::new();
                        self.waits[which].listed = false;
                    }
                    self.poll(which);
                }
            }
            Op::DropWait { which } => {
                if !self.waits.is_empty() {
                    let gone = self.waits.swap_remove(which % self.waits.len());
                    drop(gone.wait);
                }
            }
        }
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

    /// After every call, all that can be seen is as the model says.
    fn check(&self) {
        for (id, drain) in &self.handles {
            assert_eq!(drain.phase(), self.models.phase(*id));
            assert_eq!(drain.in_flight(), self.models.in_flight(*id));
            assert_eq!(drain.stragglers().count(), self.models.in_flight(*id));
            assert_eq!(drain.deadline(), self.models.0[*id].deadline);
        }
        for (id, guard) in &self.guards {
            assert_eq!(
                guard.is_draining(),
                self.models.phase(*id) >= Phase::Draining
            );
        }
        for waiting in &self.waits {
            let due = waiting.listed && self.models.phase(waiting.of) >= waiting.phase;
            assert_eq!(waiting.task.0.count(), usize::from(due));
        }
    }

    /// Whatever happened, it can be brought to an end.
    fn finish(mut self) {
        self.handles.clear();
        self.guards.clear();
        for model in &mut self.models.0 {
            model.guards = 0;
            model.asked = model.asked.max(Phase::Draining);
        }
        self.check();
        for which in 0..self.waits.len() {
            self.poll(which);
            assert!(self.waits[which].wait.poll(Waker::noop()));
        }
    }
}

/// A thread of its own has a shard of its own.
fn on_thread<T: Send>(elsewhere: bool, make: impl FnOnce() -> T + Send) -> T {
    if elsewhere {
        thread::scope(|s| s.spawn(make).join().unwrap())
    } else {
        make()
    }
}

proptest! {
    #[test]
    fn any_program_does_what_the_model_does(
        track in any::<bool>(),
        shards in 1..5_usize,
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let epoch = Instant::now();
        let mut program = Program::default();
        let drain = Drain::builder().track(track).shards(shards).build();
        let model = Model { asked: Phase::Running, guards: 0, handles: 1, parent: None, deadline: None };
        program.add(drain, model);
        for op in ops {
            program.run(op, epoch);
            program.check();
        }
        program.finish();
    }
}
