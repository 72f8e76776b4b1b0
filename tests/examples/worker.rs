use std::collections::BTreeSet;

use crate::program::Program;

/// Each job that was taken is done, and the others are counted.
#[test]
fn workers_finish_what_they_have_taken_and_leave_the_rest() {
    let mut program = Program::start("worker", &[], &[]);
    // Five jobs are queued for each that is done.
    program.wait_for("done 2");
    program.terminate();
    let ended = program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let numbers = |word| {
        let said = ended
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix(word));
        said.collect::<BTreeSet<_>>()
    };
    assert_eq!(numbers("taken "), numbers("done "));
    let stay = ended.lines.last().and_then(|line| line.split(' ').next());
    let stay: u64 = stay.and_then(|n| n.parse().ok()).expect("the last line");
    assert!(stay > 0, "{:?}", ended.lines);
}

/// The report names the jobs that were cut.
#[test]
fn jobs_that_outlast_the_grace_period_are_named() {
    let mut program = Program::start("worker", &[], &[("GRACE_MS", "1")]);
    program.wait_for("taken 1");
    program.terminate();
    let ended = program.end();
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("still in flight: job "),
        "{}",
        ended.stderr
    );
    let cut = ended
        .lines
        .iter()
        .any(|line| line.contains("cancelled: the drain is aborting"));
    assert!(cut, "{:?}", ended.lines);
}
