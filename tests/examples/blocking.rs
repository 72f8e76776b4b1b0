use crate::program::Program;

#[test]
fn a_thread_finishes_or_stops_between_two_steps() {
    let mut program = Program::start("blocking", &["10", "10000"], &[("GRACE_MS", "5000")]);
    program.wait_for("started");
    program.terminate();
    let ended = program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let said = |start| ended.lines.iter().any(|line| line.starts_with(start));
    assert!(said("10 steps: done"), "{:?}", ended.lines);
    assert!(said("10000 steps: stopped after "), "{:?}", ended.lines);
}
