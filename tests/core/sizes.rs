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

/// The memory of a child, since a program may have one per connection.
#[test]
fn a_child_is_about_a_kilobyte() {
    let drain = Drain::new();
    drop(drain.child());
    let mut children = Vec::with_capacity(1_000);
    let info = allocation_counter::measure(|| {
        children.extend((0..1_000).map(|_| drain.child()));
    });
    let each = info.bytes_current / 1_000;
    assert!(each <= 1_300, "{each} bytes per child");
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
