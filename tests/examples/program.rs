//! A recipe that is no server: it has no address, and its stdout is what it has done.

use std::{
    io::{BufRead, BufReader, Lines, Read},
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A running program, which is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    read: Vec<String>,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<String>,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn start(name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(crate::example(name))
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the example is built");
        let stdout = child.stdout.take().expect("a pipe");
        Self {
            child,
            stdout: BufReader::new(stdout).lines(),
            read: Vec::new(),
        }
    }

    /// Reads until a line that begins so.
    pub(crate) fn wait_for(&mut self, start: &str) {
        while !self.read.last().is_some_and(|line| line.starts_with(start)) {
            let line = self.stdout.next();
            let line = line.unwrap_or_else(|| panic!("it ended before it said '{start}'"));
            self.read.push(line.expect("text"));
        }
    }

    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
    }

    /// Reads to the end, which the program's own limits bound.
    pub(crate) fn end(mut self) -> Ended {
        let mut lines = std::mem::take(&mut self.read);
        lines.extend(self.stdout.by_ref().map(|line| line.expect("text")));
        let mut stderr = String::new();
        let pipe = self.child.stderr.take().expect("a pipe");
        BufReader::new(pipe)
            .read_to_string(&mut stderr)
            .expect("text");
        let status = self.child.wait().expect("it has ended");
        Ended {
            code: status.code(),
            lines,
            stderr,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails only if it is gone, which is what this is for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
