//! What keeps a drain from being drained and is not work.

use std::sync::Arc as StdArc;

use crate::drain::{
    node::Node,
    phase::Phase,
    seat::Seat,
    sync::{Arc, lock},
};

/// Keeps a drain from being drained without counting as in flight.
pub(crate) struct Presence {
    /// Taken by the drop.
    seat: Option<Arc<Seat>>,
    for_task: bool,
}

impl Presence {
    #[inline]
    pub(crate) fn node(&self) -> &StdArc<Node> {
        let seat = self.seat.as_ref();
        seat.unwrap_or_else(|| unreachable!("only `drop` takes it"))
            .node()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Some(seat) = self.seat.take() else {
            return;
        };
        let tally = &seat.node().part_at(seat.part()).tally;
        tally.end_serving();
        if self.for_task && !seat.node().latch.is(Phase::Draining) {
            tally.end_presence();
        } else {
            Node::end_presence(seat);
        }
    }
}

impl Node {
    /// Keeps this drain from being drained, for something that is not work itself but brings some:
    /// an accept loop.
    pub(crate) fn presence(this: &StdArc<Self>) -> Option<Presence> {
        let seat = this.parts().enumerate().find_map(|(index, part)| {
            let mut state = lock(&part.state);
            let seat = part.seat_in(&mut state, this, index)?;
            part.tally.begin_presence();
            part.tally.begin_serving();
            Some(seat)
        });
        Some(Presence {
            seat: Some(seat?),
            for_task: false,
        })
    }

    /// Like [`presence`](Self::presence), for a task of a server, of which there is one per
    /// connection or per stream of HTTP/2: it takes no lock while the drain runs.
    ///
    /// A new one may be counted as work for a moment, in which there is other work: a connection is
    /// in flight when its task is created. One that ends in the instant in which a running drain is
    /// aborted by hand may be counted, too.
    pub(crate) fn presence_for_task(this: &StdArc<Self>) -> Option<Presence> {
        let seat = Self::shard_seat(this)?;
        let tally = &this.part_at(seat.part()).tally;
        tally.begin_presence();
        tally.begin_serving();
        Some(Presence {
            seat: Some(seat),
            for_task: true,
        })
    }

    /// Ends the presence of `seat`, and drops it. What ends with it ends outside the lock.
    pub(crate) fn end_presence(seat: Arc<Seat>) {
        let node = StdArc::clone(seat.node());
        let part = node.part_at(seat.part());
        let ended = {
            let _state = lock(&part.state);
            part.tally.end_presence();
            Seat::give_up(seat)
        };
        drop(ended);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use crate::{Drain, Phase, drain::node::Node};

    #[test]
    fn a_presence_keeps_the_drain_and_is_not_in_flight() {
        let drain = Drain::new();
        let presence = Node::presence(drain.node());
        assert_eq!(drain.in_flight(), 0);
        let work = drain.guard().unwrap();
        drop(Node::presence(drain.node()));
        assert_eq!(drain.in_flight(), 1);
        drop(work);
        drain.begin();
        assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 0));
        drop(presence);
        assert_eq!(drain.phase(), Phase::Drained);
    }
}
