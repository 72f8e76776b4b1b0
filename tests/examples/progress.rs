use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// `podman stop -t 1` kills a second after SIGTERM: the log that is left says that the program was
/// draining, how much was left, and how long it would have taken.
#[test]
fn the_log_of_a_killed_program_says_that_it_was_draining() {
    let mut program = Command::new(crate::example("progress"))
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example is built");
    let mut stdout = BufReader::new(program.stdout.take().expect("a pipe"));
    let mut begun = String::new();
    stdout.read_line(&mut begun).expect("text");
    assert_eq!(begun, "ten jobs have begun\n");
    let pid = Pid::from_child(&program);
    let signal = |signal| kill_process(pid, signal).expect("it runs");
    signal(Signal::TERM);
    let mut stderr = BufReader::new(program.stderr.take().expect("a pipe"));
    let mut log = String::new();
    while !log.contains("draining") {
        let read = stderr.read_line(&mut log).expect("text");
        assert!(read > 0, "it ended: {log}");
    }
    signal(Signal::KILL);
    assert!(!program.wait().expect("an exit").success());

    let last = log.lines().last().expect("a line");
    assert!(
        last.contains("INFO  async_drain] SIGTERM: draining, "),
        "{last}"
    );
    assert!(
        last.contains(" in flight, at most 21 s, oldest job "),
        "{last}"
    );
    assert!(last.contains(", from examples/progress.rs:"), "{last}");
}
