use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Starts the example, waits until its jobs have begun, and returns what keeps its stdout open.
fn begun(stderr: impl Into<Stdio>) -> (Child, BufReader<ChildStdout>) {
    let mut program = Command::new(crate::example("progress"))
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .expect("the example is built");
    let mut stdout = BufReader::new(program.stdout.take().expect("a pipe"));
    let mut begun = String::new();
    stdout.read_line(&mut begun).expect("text");
    assert_eq!(begun, "ten jobs have begun\n");
    (program, stdout)
}

/// `podman stop -t 1` kills a second after SIGTERM: the log that is left says that the program was
/// draining, how much was left, and how long it would have taken.
#[test]
fn the_log_of_a_killed_program_says_that_it_was_draining() {
    let (mut program, _stdout) = begun(Stdio::piped());
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

/// L3: a log that nobody reads blocks the hook which writes to it, and not the exit.
#[test]
fn a_full_stderr_neither_prevents_the_exit_nor_changes_its_status() {
    let (_reader, mut stderr) = UnixStream::pair().expect("two sockets");
    stderr.set_nonblocking(true).expect("a socket");
    let filled = std::iter::repeat_with(|| stderr.write_all(&[b'x'; 4096])).find_map(Result::err);
    assert_eq!(
        filled.map(|error| error.kind()),
        Some(ErrorKind::WouldBlock)
    );
    stderr.set_nonblocking(false).expect("a socket");
    let (mut program, _stdout) = begun(OwnedFd::from(stderr));
    let pid = Pid::from_child(&program);
    let signalled = Instant::now();
    kill_process(pid, Signal::TERM).expect("it runs");
    // A second request is one that comes at least 250 ms later.
    thread::sleep(Duration::from_millis(300));
    kill_process(pid, Signal::TERM).expect("it runs");
    let status = program.wait().expect("an exit");
    assert_eq!(status.code(), Some(1), "{status}");
    // Jobs end when they are aborted; the hook has a second, and the report another one.
    let elapsed = signalled.elapsed();
    assert!(elapsed >= Duration::from_secs(2), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(8), "{elapsed:?}");
}
