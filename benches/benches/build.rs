//! What it takes to build the core and each feature: crates in the tree, and the CPU time of a
//! clean release build, beside swansong and tokio-graceful; and what a server costs beyond one on
//! hyper and smol-hyper that can't stop. CPU time is read from Linux's /proc.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use async_drain_bench::{
    figures::{Bound, Figures},
    paired::Ratios,
    race::order,
    server::cpu_seconds_of_children,
};

const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const ROUNDS: usize = 3;
/// A server that can't stop.
const PLAIN: &str = r#"
use std::net::TcpListener;

use hyper::{Request, Response, body::Incoming, rt::Executor, service::service_fn};
use hyper_util::server::conn::auto;

#[derive(Clone)]
struct Global;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Global {
    fn execute(&self, task: F) {
        smol::spawn(task).detach();
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<String>, std::convert::Infallible> {
    Ok(Response::new("hello".into()))
}

fn main() -> std::io::Result<()> {
    smol::block_on(async {
        let listener = smol::Async::<TcpListener>::bind(([127, 0, 0, 1], 8080))?;
        loop {
            let (stream, _) = listener.accept().await?;
            let builder = auto::Builder::new(Global);
            let stream = smol_hyper::rt::FuturesIo::new(stream);
            smol::spawn(async move {
                let _ = builder.serve_connection_with_upgrades(stream, service_fn(hello)).await;
            })
            .detach();
        }
    })
}
"#;
const PLAIN_NEEDS: &str = r#"
hyper = { version = "1.12", features = ["server", "http1", "http2"] }
hyper-util = { version = "0.1.21", default-features = false, features = ["server-auto"] }
smol = "2"
smol-hyper = { version = "0.1.1", default-features = false }
"#;
/// The same, and it stops.
const STOPPING: &str = r#"
use std::net::TcpListener;

use async_drain::{Drain, Report, Shutdown, hyper::Server, signal};
use hyper::{Request, Response, body::Incoming, service::service_fn};

async fn hello(_: Request<Incoming>) -> Result<Response<String>, std::convert::Infallible> {
    Ok(Response::new("hello".into()))
}

fn main() -> std::io::Result<Report> {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain).on(signal::termination()?);
    let listener = smol::Async::<TcpListener>::bind(([127, 0, 0, 1], 8080))?;
    let server = Server::new(&drain, |task| smol::spawn(task).detach());
    Ok(smol::block_on(shutdown.run(server.serve(listener, service_fn(hello)))))
}
"#;

/// A package to be built, with `--no-default-features` and these features, or with its defaults.
struct Tree {
    name: &'static str,
    manifest: PathBuf,
    features: Option<&'static str>,
}

fn main() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("build");
    let ours = |name, features| Tree {
        name,
        manifest: Path::new(OURS).join("Cargo.toml"),
        features: Some(features),
    };
    let theirs = |name, dependency: &str| Tree {
        name,
        manifest: package(&scratch.join(name), &format!("{name} = {dependency}"), None),
        features: None,
    };
    let server = |name, dependencies: &str, main| Tree {
        name,
        manifest: package(&scratch.join(name), dependencies, Some(main)),
        features: None,
    };
    let stopping_needs = format!(
        "async-drain = {{ path = {OURS:?}, features = [\"hyper\", \"signal\"] }}\n\
         hyper = {{ version = \"1.12\", features = [\"server\", \"http1\", \"http2\"] }}\nsmol = \"2\""
    );
    let trees = [
        ours("the core alone", ""),
        ours("async-io (default)", "async-io"),
        ours("signal", "signal"),
        ours("net", "net"),
        ours("hyper", "hyper"),
        theirs("swansong", r#""=0.3.7""#),
        theirs("tokio-graceful", r#""0.2""#),
        server("a server that can't stop", PLAIN_NEEDS, PLAIN),
        server("the same that stops", &stopping_needs, STOPPING),
    ];
    let [plain, stopping] = [trees.len() - 2, trees.len() - 1];

    let mut seconds = vec![f64::INFINITY; trees.len()];
    let mut sizes = vec![0.0; trees.len()];
    let mut dearer = Ratios::new();
    for round in 0..ROUNDS {
        let mut took = vec![0.0; trees.len()];
        for i in order(round, trees.len()) {
            (took[i], sizes[i]) = build(&trees[i], &scratch.join("target"));
            seconds[i] = took[i].min(seconds[i]);
        }
        dearer.add(took[stopping], took[plain]);
    }
    let mut figures = Figures::new("build", "crates in the tree; CPU time, 1 = the core alone");
    for (tree, time) in trees.iter().zip(&seconds) {
        figures.add("crates", tree.name, crates(tree) as f64);
        figures.add("CPU time", tree.name, time / seconds[0]);
    }
    figures.target(
        "CPU seconds of the core alone",
        seconds[0],
        Bound::AtMost(3.0),
    );
    figures.interval(
        "CPU seconds of a server that stops, times one that can't",
        &dearer,
        Bound::AtMost(1.1),
    );
    figures.target(
        "bytes of a server that stops, times one that can't, both stripped",
        sizes[stopping] / sizes[plain],
        Bound::AtMost(1.08),
    );
    figures.publish();
}

/// Makes a package in `folder` that has these dependencies, and a program or an empty library.
fn package(folder: &Path, dependencies: &str, main: Option<&str>) -> PathBuf {
    let manifest = folder.join("Cargo.toml");
    fs::create_dir_all(folder.join("src")).expect("a folder for a package");
    let file = if main.is_some() { "main.rs" } else { "lib.rs" };
    fs::write(folder.join("src").join(file), main.unwrap_or_default()).expect("a source");
    let text = format!(
        "[package]\nname = \"alone\"\nedition = \"2024\"\n[workspace]\n\
         [profile.release]\nstrip = true\n[dependencies]\n{dependencies}\n"
    );
    fs::write(&manifest, text).expect("a manifest");
    manifest
}

fn cargo(subcommand: &str, tree: &Tree) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .args([subcommand, "--manifest-path"])
        .arg(&tree.manifest);
    if let Some(features) = tree.features {
        // Alone, and not with what the other packages of its workspace need.
        cargo.args(["--package", "async-drain"]);
        cargo.args(["--no-default-features", "--features", features]);
    }
    cargo
}

/// Builds `tree` from nothing. Returns the CPU seconds, and the size of the program if it is one.
fn build(tree: &Tree, target: &Path) -> (f64, f64) {
    // What is left of the build before.
    let _ = fs::remove_dir_all(target);
    // Downloads are not part of it.
    crates(tree);
    let before = cpu_seconds_of_children();
    let output = cargo("build", tree)
        .args(["--release", "--quiet", "--target-dir"])
        .arg(target)
        .output()
        .expect("cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", tree.name);
    let size = fs::metadata(target.join("release/alone")).map_or(f64::NAN, |m| m.len() as f64);
    (cpu_seconds_of_children() - before, size)
}

fn crates(tree: &Tree) -> usize {
    let output = cargo("tree", tree)
        .args([
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .output()
        .expect("cargo");
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let crates: BTreeSet<_> = listed
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with("alone "))
        .map(|l| l.split(" (").next().unwrap_or(l))
        .collect();
    crates.len()
}
