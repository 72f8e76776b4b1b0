use crate::program::Program;

#[test]
fn threads_finish_their_round_and_are_woken_from_their_pause() {
    let mut program = Program::start("threads", &[], &[]);
    program.wait_for("mail: a round is done");
    program.terminate();
    let ended = program.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let count = |end| ended.lines.iter().filter(|l| l.ends_with(end)).count();
    assert_eq!(count("a round begins"), count("a round is done"));
}
