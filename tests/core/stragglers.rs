//! The list of work in flight.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use async_drain::{Drain, Phase, net::idle::ConnectionGuard};

fn tracked() -> Drain {
    Drain::tracked()
}

/// A straggler has a label, the place where its guard was made, and an age.
#[test]
fn a_straggler_has_a_label_a_place_and_an_age() {
    let drain = tracked();
    let line = line!() + 1;
    let work = drain.guard().unwrap().labeled("GET /export");
    let stragglers = drain.stragglers();
    let straggler = stragglers.iter().next().unwrap();
    assert_eq!(straggler.label.as_deref(), Some("GET /export"));
    assert_eq!(
        (straggler.place.file(), straggler.place.line()),
        (file!(), line)
    );
    assert!(straggler.age < Duration::from_secs(60));
    assert!(straggler.to_string().starts_with("GET /export, for "));
    drop(work);
    assert_eq!(drain.stragglers().iter().count(), 0);
    let admitted = drain.admit().unwrap();
    let stragglers = drain.stragglers();
    let straggler = stragglers.iter().next().unwrap();
    assert_eq!((straggler.place.file(), &straggler.label), (file!(), &None));
    assert!(straggler.to_string().starts_with("unlabeled, for "));
    drop(admitted);
}

/// The clock of ages ticks every 10 ms or more often, so that an age may be that much too long.
const TICK: Duration = Duration::from_millis(10);

fn age(drain: &Drain) -> Duration {
    drain.stragglers().iter().next().unwrap().age
}

/// Spins until the clock says that `time` has passed, since ages are what is tested here.
pub(crate) fn pass(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {}
}

#[test]
fn an_age_is_the_time_that_has_passed() {
    let drain = tracked();
    let before = Instant::now();
    let work = drain.guard().unwrap();
    pass(2 * TICK);
    let age = age(&drain);
    assert!(age >= 2 * TICK, "{age:?}");
    assert!(age <= before.elapsed() + TICK, "{age:?}");
    drop(work);
}

/// A clone has the label of its original, and a place of its own.
#[test]
fn a_clone_keeps_the_label() {
    let drain = tracked();
    let first = drain.guard().unwrap().labeled("first");
    let line = line!() + 1;
    let clone = first.clone();
    drop(first);
    let stragglers = drain.stragglers();
    let (label, place) = stragglers
        .iter()
        .map(|s| (s.label.clone(), s.place))
        .next()
        .unwrap();
    assert_eq!((label.as_deref(), place.line()), (Some("first"), line));
    let second = clone.clone().labeled("second".to_owned());
    assert_eq!(
        format!("{second:?}"),
        "Guard { phase: Running, label: \"second\", .. }"
    );
    let labels: Vec<_> = drain
        .stragglers()
        .iter()
        .map(|s| s.label.clone().unwrap())
        .collect();
    assert_eq!(labels.len(), 2);
    assert!(labels.contains(&"first".into()) && labels.contains(&"second".into()));
}

/// The oldest comes first, children and other threads included.
#[test]
fn the_oldest_straggler_comes_first() {
    let drain = tracked();
    let child = drain.child();
    let mut guards = Vec::new();
    for label in ["a", "b", "c", "d"] {
        let source = if label < "c" { &child } else { &drain };
        let make = || source.guard().unwrap().labeled(label);
        guards.push(thread::scope(|s| s.spawn(make).join().unwrap()));
    }
    let stragglers = drain.stragglers();
    // Made within one tick of the clock, they may come in any order.
    let labels: BTreeSet<_> = stragglers
        .iter()
        .map(|s| s.label.as_deref().unwrap())
        .collect();
    assert_eq!(labels, BTreeSet::from(["a", "b", "c", "d"]));
    assert_eq!(stragglers.total(), 4);
    assert!(
        stragglers
            .into_iter()
            .is_sorted_by_key(|s| std::cmp::Reverse(s.age))
    );
    assert_eq!((&stragglers).into_iter().count(), 4);
    assert_eq!(child.stragglers().total(), 2);
    assert_eq!(stragglers.to_string().lines().count(), 4);
}

/// On a drain that does not track, labels are ignored and the count is right.
#[test]
fn untracked_guards_are_counted() {
    let drain = Drain::new();
    let first = drain.guard().unwrap().labeled("ignored");
    let _second = first.clone();
    let stragglers = drain.stragglers();
    assert_eq!((stragglers.total(), stragglers.iter().count()), (2, 0));
    assert_eq!(stragglers.to_string(), "still in flight: 2 untracked");
}

/// S2: a drain waits for tracked guards as for others.
#[test]
fn tracked_guards_are_waited_for() {
    let drain = tracked();
    let guard = drain.guard().unwrap();
    let clone = guard.clone();
    drain.begin();
    drop(guard);
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 1));
    drop(clone.labeled("relabeled at the last moment"));
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Drained, 0));
}

/// C5: tracked guards leave nothing behind.
#[test]
fn a_dropped_guard_leaves_no_entry() {
    let drain = tracked();
    // The first few make the seats that later guards reuse.
    for _ in 0..100 {
        drop(drain.guard().unwrap());
    }
    let info = allocation_counter::measure(|| {
        for _ in 0..100_000 {
            drop(drain.guard().unwrap().labeled("work"));
        }
    });
    assert_eq!(info.bytes_current, 0);
    assert_eq!(drain.stragglers().total(), 0);
}

/// C5: nor do many guards at once, once there is a seat for each.
#[test]
fn many_guards_that_come_and_go_leave_no_entries() {
    let drain = tracked();
    let many = || -> Vec<_> { (0..100).map(|_| drain.guard().unwrap()).collect() };
    for _ in 0..4 {
        drop(many());
    }
    let info = allocation_counter::measure(|| {
        for _ in 0..100 {
            drop(many());
        }
    });
    assert_eq!(info.bytes_current, 0);
}

/// A connection between two requests is not listed.
#[test]
fn idle_connections_are_not_stragglers() {
    let drain = tracked();
    let mut connection = ConnectionGuard::new(drain.guard().unwrap().labeled("connection"));
    let seen = || (drain.stragglers().iter().count(), drain.in_flight());
    assert_eq!(seen(), (1, 1));
    for _ in 0..3 {
        connection.rest();
        assert_eq!(seen(), (0, 0));
        connection.work();
        assert_eq!(seen(), (1, 1));
    }
    drop(connection);
    assert_eq!(seen(), (0, 0));
}

/// A report names a connection by its latest request, with that request's age.
#[test]
fn a_connection_at_work_again_has_a_new_age_and_label() {
    let drain = tracked();
    let mut connection = ConnectionGuard::new(drain.guard().unwrap().labeled("connection"));
    connection.rest();
    pass(5 * TICK);
    let before = Instant::now();
    connection.work();
    connection.label(|| "GET /second".into());
    let age = age(&drain);
    assert!(age <= before.elapsed() + TICK, "{age:?}");
    let stragglers = drain.stragglers();
    assert_eq!(
        stragglers.iter().next().unwrap().label.as_deref(),
        Some("GET /second")
    );
    drop(connection);
}

/// A connection that ends while idle does not change the count.
#[test]
fn an_idle_connection_that_ends_leaves_the_count_right() {
    let drain = Drain::new();
    let mut connection = ConnectionGuard::new(drain.guard().unwrap());
    let work = drain.guard().unwrap();
    connection.rest();
    assert_eq!(drain.in_flight(), 1);
    drop(connection);
    assert_eq!(drain.in_flight(), 1);
    drop(work);
    assert_eq!(drain.in_flight(), 0);
}

/// S2: the first guard of a tracked child may come when its parent is draining already.
#[test]
fn a_tracked_child_drains_whose_first_guard_came_late() {
    let drain = Drain::tracked();
    let child = drain.child();
    let below = child.child();
    let work = below.guard().unwrap();
    drain.begin();
    let late = child.guard().unwrap().labeled("late");
    assert_eq!((drain.in_flight(), child.stragglers().total()), (2, 2));
    drop(late);
    assert_eq!(drain.in_flight(), 1);
    drop(work);
    assert_eq!(drain.phase(), Phase::Drained);
}

/// S8: when the records of a peak are given back, those of the guards that are left move: a guard
/// still names its own work, and takes away its own record.
#[test]
fn a_guard_keeps_its_record_when_that_moves() {
    let drain = tracked();
    let guards = (0..1000).map(|n| drain.guard().unwrap().labeled(format!("first {n}")));
    let mut guards: Vec<_> = guards.enumerate().collect();
    guards.retain(|(n, _)| n % 8 == 7);
    assert_eq!(drain.in_flight(), 125); // gives the others' records back
    let labels = || {
        let mut labels: Vec<_> = drain
            .stragglers()
            .iter()
            .map(|straggler| straggler.label.clone().unwrap().into_owned())
            .collect();
        labels.sort();
        labels
    };
    let relabeled = guards
        .into_iter()
        .map(|(n, guard)| (n, guard.labeled(format!("then {n}"))));
    let mut guards: Vec<_> = relabeled.collect();
    for _ in 0..2 {
        let mut expected: Vec<_> = guards.iter().map(|(n, _)| format!("then {n}")).collect();
        expected.sort();
        assert_eq!(labels(), expected);
        guards.retain(|(n, _)| n % 3 == 0);
    }
}

/// C5: the records of a peak of tracked guards are given back, with their labels: by the next call
/// that counts, or little by little by new guards.
#[test]
fn memory_follows_the_tracked_guards_that_are_left() {
    let peak = |drain: &Drain| {
        let label = || "a label of some length".to_owned();
        let guards = (0..50_000).map(|_| drain.guard().unwrap().labeled(label()));
        drop(guards.collect::<Vec<_>>());
    };
    let counted = Drain::tracked();
    let kept = counted.guard().unwrap();
    let info = allocation_counter::measure(|| {
        peak(&counted);
        assert_eq!(counted.in_flight(), 1);
    });
    assert!(
        info.bytes_current < 50_000,
        "{} bytes stay",
        info.bytes_current
    );
    assert_eq!(counted.stragglers().iter().count(), 1);
    drop(kept);

    let busy = Drain::tracked();
    assert_eq!(busy.in_flight(), 0); // a reader that has gone holds nothing up
    let info = allocation_counter::measure(|| {
        peak(&busy);
        (0..50_000).for_each(|_| drop(busy.guard()));
    });
    assert!(
        info.bytes_current < 50_000,
        "{} bytes stay",
        info.bytes_current
    );
}
