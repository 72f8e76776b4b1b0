//! An example that does not serve: it has no address, and prints its work to stdout.

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

    /// Reads lines until one starts with this.
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

    /// Reads until the program ends, which its own limits ensure.
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
        // Fails only if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
