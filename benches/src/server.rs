//! Servers in processes of their own: built, started, asked what they have used, stopped.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Builds what `target` (`--bin NAME`, `--example NAME`) says of the package in `folder`, from the
/// root of the repository, and returns the program.
///
/// # Panics
///
/// If it can't be built: figures of an older one would be worse than none.
#[must_use]
pub fn built(folder: &str, target: [&str; 2]) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let into = here.join("target/servers");
    let status = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--quiet", "--release", "--locked"])
        .args(target)
        .arg("--manifest-path")
        .arg(here.join("..").join(folder).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&into)
        .status();
    assert!(status.is_ok_and(|s| s.success()), "{folder} did not build");
    let kind = if target[0] == "--example" {
        "release/examples"
    } else {
        "release"
    };
    into.join(kind).join(target[1])
}

/// Builds a Go program of a single file, if there is a `go` (or what `GO` names).
#[must_use]
pub fn built_go(file: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = file.replace('/', "-").replace(".go", "");
    let program = here.join("target").join(name);
    let built = Command::new(env::var_os("GO").unwrap_or("go".into()))
        .args(["build", "-o"])
        .arg(&program)
        .arg(here.join("..").join(file))
        .output();
    match built {
        Ok(output) if output.status.success() => Some(program),
        Ok(output) => {
            println!("SKIPPED: Go: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            println!("SKIPPED: Go: {error} (set GO to a go command)");
            None
        }
    }
}

/// Returns whether there is such a program; says so if there is none.
#[must_use]
pub fn found(program: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    if !found {
        println!("SKIPPED: no {program} (apt-get install wrk nghttp2-client valgrind)");
    }
    found
}

/// Returns a command that runs on one core, if there are several.
#[must_use]
pub fn on_core(core: usize, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 || !found("taskset") {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}

/// A server that runs; killed with the value. Its first line ends in its address.
#[derive(Debug)]
pub struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a server");
        let mut first = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut first)
            .expect("a first line");
        let addr = first.split_whitespace().last().and_then(|a| a.parse().ok());
        Self {
            child,
            addr: addr.unwrap_or_else(|| panic!("{command:?} said {first:?}")),
        }
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns the processor time that it has used: the sum of its threads.
    ///
    /// # Panics
    ///
    /// If it has ended, or if /proc isn't there.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("Linux");
        let nanoseconds = tasks.filter_map(|task| {
            let stat = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            stat.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Bytes of it that are in memory.
    ///
    /// # Panics
    ///
    /// If it has ended, or if /proc isn't there.
    #[must_use]
    pub fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("Linux");
        let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let kib = kib.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kib.expect("a size") * 1024
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        // One that has ended has stopped.
        let _ = kill_process(self.pid(), Signal::TERM);
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// If it can't be waited for.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child of ours")
    }

    /// Returns all that it has written to stderr, once it has ended.
    ///
    /// # Panics
    ///
    /// If it is not text.
    pub fn stderr(&mut self) -> String {
        let stderr = self.child.stderr.take().expect("piped");
        std::io::read_to_string(stderr).expect("text")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the user and system time of all children that have ended.
///
/// # Panics
///
/// Elsewhere than on Linux.
#[must_use]
pub fn cpu_seconds_of_children() -> f64 {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    // The name, in brackets, may hold spaces; cutime and cstime are fields 16 and 17, and the state
    // after it is 3.
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let fields = fields.split_whitespace().skip(13).take(2);
    let ticks = fields.filter_map(|f| f.parse::<f64>().ok()).sum::<f64>();
    ticks / TICKS_A_SECOND
}
