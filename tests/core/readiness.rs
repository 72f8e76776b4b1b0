//! When a program says that it should get new work.

use async_drain::Drain;

/// By default, a program is unready from lame duck on; as Kubernetes wants it, from draining on.
#[test]
fn each_mode_has_the_phase_from_which_on_it_is_unready() {
    let drain = Drain::new();
    let balancer = drain.readiness();
    let kubernetes = drain.readiness().kubernetes();
    assert!(balancer.is_ready() && kubernetes.is_ready());
    assert_eq!(balancer.to_string(), "ready");

    drain.enter_lame_duck();
    assert!(!balancer.is_ready());
    assert_eq!(balancer.to_string(), "not ready: lame duck");
    assert!(kubernetes.is_ready());
    assert_eq!(kubernetes.to_string(), "ready");

    let work = drain.guard().unwrap();
    drain.begin();
    assert_eq!(balancer.to_string(), "not ready: draining");
    assert_eq!(kubernetes.to_string(), "not ready: draining");
    assert!(!balancer.is_ready() && !kubernetes.is_ready());
    drop(work);
    assert!(!balancer.is_ready() && !kubernetes.is_ready());
}

/// A hold by one part of the program is what every probe sees, until the last one ends.
#[test]
fn a_program_is_unready_until_the_last_hold_ends() {
    let drain = Drain::new();
    let probed = drain.readiness();
    let cache = drain.readiness().hold("cold cache");
    let database = drain
        .observer()
        .readiness()
        .hold(format!("no {}", "database"));
    assert!(!probed.is_ready());
    assert_eq!(probed.to_string(), "not ready: cold cache, no database");
    drop(cache);
    assert!(!probed.is_ready());
    assert_eq!(probed.reasons(), ["no database"]);
    drain.enter_lame_duck();
    assert_eq!(probed.to_string(), "not ready: lame duck, no database");
    assert_eq!(
        probed.clone().kubernetes().to_string(),
        "not ready: no database"
    );
    drop(database);
    assert!(!probed.is_ready());
    assert!(probed.kubernetes().is_ready());
}

/// A child has reasons of its own, and leaves with its parent.
#[test]
fn a_hold_of_a_child_is_not_its_parents() {
    let drain = Drain::new();
    let child = drain.child();
    let held = child.readiness().hold("one tenant");
    assert!(drain.readiness().is_ready());
    assert!(!child.readiness().is_ready());
    drop(held);
    drain.enter_lame_duck();
    assert!(!child.readiness().is_ready());
}

/// It is not a handle: a program that only asks whether it is ready drains.
#[test]
fn readiness_does_not_keep_the_drain_running() {
    let drain = Drain::new();
    let readiness = drain.readiness();
    drop(drain);
    assert!(!readiness.is_ready());
    assert_eq!(readiness.to_string(), "not ready: drained");
}
