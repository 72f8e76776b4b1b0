//! Restarts of a group of processes. `ci/generations.sh` plays more, and other kinds.

use crate::support::generations::{Hand, play};
use crate::support::server;

/// Z1: processes in one `SO_REUSEPORT` group follow each other without a client noticing.
#[test]
fn a_group_of_processes_restarts_without_a_loss() {
    let seen = play(Hand::Group(&server("hyper")), 3, false).expect("it serves");
    assert!(seen.is_clean(), "{seen:?}");
}
