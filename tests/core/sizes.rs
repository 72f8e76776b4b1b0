//! C1 C5: the sizes of types.

use async_drain::{
    Drain, Drained, Guard, Refused,
    futures::{Guarded, UntilAborting, UntilDrained, UntilDraining, UntilLameDuck},
};

const POINTER: usize = size_of::<usize>();

/// C1: a guard is one pointer, and `Option` adds nothing.
#[test]
fn a_guard_is_one_pointer() {
    assert_eq!(size_of::<Guard>(), POINTER);
    assert_eq!(size_of::<Option<Guard>>(), POINTER);
    assert_eq!(size_of::<Result<Guard, Drained>>(), POINTER);
    assert_eq!(size_of::<Drain>(), POINTER);
    assert_eq!(size_of::<Option<Drain>>(), POINTER);
    assert!(size_of::<Result<Guard, Refused>>() <= 2 * POINTER);
    assert_eq!(size_of::<Guarded<usize>>(), 2 * POINTER);
}

/// C5: a wait is at most six words; with its place in the list, eight.
#[test]
fn a_wait_is_six_words() {
    assert!(size_of::<UntilLameDuck>() <= 6 * POINTER);
    assert!(size_of::<UntilDraining>() <= 6 * POINTER);
    assert!(size_of::<UntilAborting>() <= 6 * POINTER);
    assert!(size_of::<UntilDrained>() <= 6 * POINTER);
}

/// C6: the memory of a child, since a program may have one per connection. It is at most
/// that of swansong's child, also once the child has had a guard.
#[test]
fn a_child_is_a_quarter_of_a_kilobyte() {
    let drain = Drain::new();
    drop(drain.child());
    let mut children = Vec::with_capacity(1_000);
    let info = allocation_counter::measure(|| {
        children.extend((0..1_000).map(|_| drain.child()));
    });
    let each = info.bytes_current / 1_000;
    assert!(each <= 216, "{each} bytes per child");
    let info = allocation_counter::measure(|| {
        for child in &children {
            drop(child.guard());
        }
    });
    let each = each + info.bytes_current / 1_000;
    assert!(each <= 264, "{each} bytes per child that has had a guard");
}

/// C6: what a child asks of the allocator: once for itself, and once for its first guard.
#[test]
fn a_child_is_one_allocation() {
    let drain = Drain::new();
    drop(drain.child());
    let count = |what: &dyn Fn()| allocation_counter::measure(what).count_total;
    assert_eq!(count(&|| drop(drain.child())), 1);
    let with_a_guard = || {
        let child = drain.child();
        drop(child.guard());
    };
    assert_eq!(count(&with_a_guard), 2);
}

/// C1: by default a drain has as many shards as there are cores.
#[test]
fn a_drain_has_a_shard_for_each_core() {
    let bytes = |make: &dyn Fn() -> Drain| {
        let mut drain = None;
        let info = allocation_counter::measure(|| drain = Some(make()));
        info.bytes_current
    };
    let cores = std::thread::available_parallelism().unwrap().get();
    drop(Drain::new());
    assert_eq!(
        bytes(&Drain::new),
        bytes(&|| Drain::with_shards(cores, false))
    );
}
