use crate::program::Program;

const ENDING: &str = "trap 'sleep 0.05; exit 7' TERM; echo up; while :; do sleep 0.01; done";
const IGNORING: &str = "trap '' TERM; echo up; while :; do sleep 0.01; done";

#[test]
fn children_are_told_and_waited_for() {
    let mut program = Program::start("children", &[ENDING, "exit 3"], &[]);
    program.wait_for("up");
    program.terminate();
    let ended = program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told = format!("{ENDING}: exit status: 7");
    assert!(ended.lines.contains(&told), "{:?}", ended.lines);
}

#[test]
fn a_child_that_does_not_listen_is_killed_and_named() {
    let mut program = Program::start("children", &[IGNORING], &[("GRACE_MS", "100")]);
    program.wait_for("up");
    program.terminate();
    let ended = program.end();
    assert_eq!(ended.code, Some(1));
    let killed = format!("{IGNORING}: signal: 9 (SIGKILL)");
    assert!(ended.lines.contains(&killed), "{:?}", ended.lines);
    let named = format!("still in flight: {IGNORING}");
    assert!(ended.stderr.contains(&named), "{}", ended.stderr);
    // It ended within the abort grace.
    assert!(!ended.stderr.contains("still running"), "{}", ended.stderr);
}
