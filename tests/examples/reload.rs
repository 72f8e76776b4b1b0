use std::process::Command;

use testkit::generations::{Hand, play};

use crate::example;

/// Z1, Z2: three reloads under load, which no client notices.
#[test]
fn a_reload_loses_nothing() {
    let mut reload = Command::new(example("reload"));
    reload.env("ADDR", "127.0.0.1:0");
    let seen = play(Hand::Hangup(reload), 3, false).expect("it serves");
    assert!(seen.is_clean(), "{seen:?}");
}
