//! What it takes to build the core and each feature: crates in the tree, and the CPU time of a
//! clean release build, beside swansong and tokio-graceful. CPU time is read from Linux's /proc.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use async_drain_bench::{
    figures::{Bound, Figures},
    server::cpu_seconds_of_children,
};

const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const ROUNDS: usize = 2;

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
    let theirs = |name, dependency| Tree {
        name,
        manifest: depending_on(&scratch.join(name), name, dependency),
        features: None,
    };
    let trees = [
        ours("the core alone", ""),
        ours("async-io (default)", "async-io"),
        ours("signal", "signal"),
        ours("net", "net"),
        ours("http1", "net,http1"),
        ours("http2", "net,http2"),
        ours("hyper", "hyper"),
        theirs("swansong", r#""=0.3.7""#),
        theirs("tokio-graceful", r#""0.2""#),
    ];

    let mut seconds = vec![f64::INFINITY; trees.len()];
    for _ in 0..ROUNDS {
        for (tree, best) in trees.iter().zip(&mut seconds) {
            *best = best.min(build(tree, &scratch.join("target")));
        }
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
    figures.publish();
}

/// Makes a package in `folder` that has nothing but a dependency on `name`.
fn depending_on(folder: &Path, name: &str, dependency: &str) -> PathBuf {
    let manifest = folder.join("Cargo.toml");
    fs::create_dir_all(folder.join("src")).expect("a folder for a package");
    fs::write(folder.join("src/lib.rs"), "").expect("an empty library");
    let text = format!(
        "[package]\nname = \"alone\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{name} = {dependency}\n"
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
        cargo.args(["--no-default-features", "--features", features]);
    }
    cargo
}

fn build(tree: &Tree, target: &Path) -> f64 {
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
    cpu_seconds_of_children() - before
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
