//! What is in flight, what was abandoned, and how long it has run.

use crate::{
    Straggler, Stragglers,
    clock::Timestamp,
    drain::{
        entry::Entry, node::Node, part::Part, phase::Phase, registry::Registry, sync::lock,
        work_state::WorkState,
    },
};

/// What is to be shown of the work of a drain and of all below it.
#[derive(Default)]
pub(crate) struct Overview {
    pub(crate) in_flight: usize,
    /// How many connections are between requests.
    pub(crate) idle: usize,
    /// The oldest of the guards, oldest first, if they are tracked.
    pub(crate) oldest: Vec<Straggler>,
}

impl Overview {
    /// How many of the oldest guards are named.
    const OLDEST: usize = 3;
}

impl Node {
    /// Returns how many guards were alive here and below when draining began, or are now if it
    /// began above, or by hand in a child.
    pub(crate) fn begun_with(&self) -> usize {
        let begun_with = self.with_details(|details| details.begun_with);
        begun_with.unwrap_or_else(|| self.in_flight())
    }

    /// Records work as abandoned (S8); its label, place and age are in `entry`. If aborting has
    /// begun and the work was alive then, it is recorded already. For a connection, `work` tells
    /// whether it was; a plain guard always was.
    pub(crate) fn abandon(&self, work: Option<&WorkState>, entry: Option<&Entry>) {
        let known = entry.and_then(Entry::straggler);
        let mut state = lock(&self.first().state);
        // E8: aborting is raised under the lock, once the work is counted.
        if !self.latch.is(Phase::Aborting) || work.is_some_and(WorkState::is_uncounted) {
            state
                .details
                .get_or_insert_default()
                .abandon(Stragglers::lost(known));
        }
        // E8: under the lock, so that it is not counted as well when aborting begins.
        if let Some(part) = work.and_then(WorkState::abandon) {
            self.part_at(part).tally.begin_presence();
        }
    }

    /// Marks a connection idle: it no longer counts as in flight.
    #[inline]
    pub(crate) fn rest(&self, work: &WorkState) {
        work.set_at_work(false);
        // E8: work that ends before aborting begins is not among the abandoned.
        if !self.part_at(work.part()).tally.begin_presence() {
            work.set_uncounted(true);
        }
    }

    /// Marks a connection at work again.
    #[inline]
    pub(crate) fn resume(&self, work: &WorkState) {
        // E8: work that begins again during the count is among the abandoned, and what the
        // connection did before may be as well.
        work.set_uncounted(self.part_at(work.part()).tally.end_presence());
        self.wait_for_look();
    }

    /// Returns the work of this drain and of all below it that was abandoned, oldest first.
    pub(crate) fn abandoned(&self) -> Stragglers {
        let mut all = Stragglers::none();
        self.for_each_abandoned(|abandoned| all.append(abandoned.clone()));
        all.sort();
        all
    }

    /// Returns how much of that was alive when aborting began, and copies none of it.
    pub(crate) fn total_aborted(&self) -> usize {
        let mut total = 0;
        self.for_each_abandoned(|abandoned| total += abandoned.total_alive());
        total
    }

    fn for_each_abandoned(&self, mut each: impl FnMut(&Stragglers)) {
        let below = self.below();
        // Held together: a child that ends hands its abandoned work on to its parent.
        let own = lock(&self.first().state);
        let states: Vec<_> = below.iter().map(|node| lock(&node.first().state)).collect();
        let details = states.iter().filter_map(|state| state.details.as_ref());
        let details = details.filter(|details| !details.ended);
        for details in own.details.iter().chain(details) {
            if let Some(abandoned) = &details.abandoned {
                each(abandoned);
            }
        }
    }

    /// Returns how many guards are alive here and below.
    pub(crate) fn in_flight(&self) -> usize {
        let mut sum = 0;
        self.for_each(|node| {
            // The kept seats first: if draining begins in between, their guards are counted twice
            // rather than not at all.
            let kept = node.registry().map_or(0, Registry::count_kept);
            sum += node.own_in_flight(kept);
        });
        sum
    }

    /// Returns how many guards are alive here, of which `kept` are in kept seats.
    fn own_in_flight(&self, kept: usize) -> usize {
        let work: isize = self.parts().map(Part::count).sum();
        kept.saturating_add_signed(work)
    }

    /// Returns how many connections are idle: the presences that are nothing else.
    fn own_idle(&self) -> usize {
        let presences: isize = self.parts().map(|part| part.tally.count_presences()).sum();
        let others = self.registry().map_or(0, Registry::kept_records);
        usize::try_from(presences).map_or(0, |presences| presences.saturating_sub(others))
    }

    /// Returns what is to be shown of the work here and below, by one walk.
    pub(crate) fn overview(&self) -> Overview {
        let mut overview = Overview::default();
        let now = Timestamp::now();
        self.for_each(|node| {
            let registry = node.registry();
            let kept = registry.map_or(0, |known| {
                known.overview(now, Overview::OLDEST, &mut overview.oldest)
            });
            overview.in_flight += node.own_in_flight(kept);
            overview.idle += node.own_idle();
        });
        overview
    }

    /// Returns the guards that are alive here and below, oldest first.
    pub(crate) fn stragglers(&self) -> Stragglers {
        let now = Timestamp::now();
        let mut known = Vec::new();
        self.for_each(|node| {
            if let Some(registry) = node.registry() {
                registry.collect(now, &mut known);
            }
        });
        let mut stragglers = Stragglers::alive(self.in_flight(), known);
        stragglers.sort();
        stragglers
    }
}
