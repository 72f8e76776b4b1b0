//! The examples, each as the process that an operator sees.

mod axum;
mod blocking;
mod children;
mod line_echo;
mod program;
mod proxy;
mod smol_main;
mod websocket;
mod worker;

use std::{path::PathBuf, process::Command, sync::Once, time::Duration};

/// Enough for anything that should not have to wait.
const SOON: Duration = Duration::from_secs(10);

/// Returns an example of this package, built from what is there now.
///
/// `cargo test --test examples` builds none of them, and a test of a stale program would pass.
fn example(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    let program = testkit::example(name);
    BUILT.call_once(|| {
        let profile = program.ancestors().nth(2).expect("target/PROFILE/examples");
        let target = profile.parent().expect("target");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--examples", "--package", "async-drain"]);
        // A directory of its own for each `--target`.
        if target.join("CACHEDIR.TAG").exists() {
            cargo.arg("--target-dir").arg(target);
        } else {
            let triple = target.file_name().expect("a target's name");
            let above = target.parent().expect("the target directory");
            cargo
                .arg("--target")
                .arg(triple)
                .arg("--target-dir")
                .arg(above);
        }
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo.status().expect("cargo runs");
        assert!(status.success(), "the examples do not build");
    });
    program
}
