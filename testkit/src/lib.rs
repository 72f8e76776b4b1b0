//! What tests, load tools, benches and example servers of async-drain share.
//!
//! - [`process`]: a server as its operator sees it, with signals and an exit status
//! - [`client`], [`h2`], `tls`: blocking peers that speak to it byte by byte, over [`response`] and
//!   [`frames`], so that no protocol is parsed in two places
//! - [`settings`], [`routes`] and [`serve`]: what the HTTP servers offer, and how they begin and
//!   end
//! - [`program`]: random programs of the core's operations and the model they must agree with, for
//!   proptest and the fuzzer; [`polling`]: futures polled by hand, and wakers that count
//! - `scene`: one request in flight while a drain runs, for any executor
//! - `generations`: a server that is restarted again and again, and what its clients see of it
//! - `meter`: the asynchronous clients of `loss` and `storm`, and how they count
//!
//! The servers that tests drive are programs of this package: `hyper`, `local` and `axum`.

#[cfg(feature = "hyper")]
pub mod certificate;
pub mod client;
pub mod frames;
#[cfg(unix)]
pub mod generations;
pub mod h2;
#[cfg(all(unix, feature = "meter"))]
pub mod meter;
pub mod polling;
#[cfg(unix)]
pub mod process;
pub mod program;
pub mod response;
pub mod routes;
#[cfg(feature = "hyper")]
pub mod scene;
pub mod serve;
pub mod settings;
#[cfg(unix)]
pub mod subject;
#[cfg(all(unix, feature = "meter"))]
pub mod tls;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

/// Returns a program of this package, which cargo builds before it runs the package's tests.
pub fn server(name: &str) -> PathBuf {
    beside_the_tests().join(name)
}

/// Returns an example of the package whose test is running, built from what is there now: cargo
/// builds none of them for a single test, and a test of a stale program would pass.
pub fn example(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    let profile = beside_the_tests();
    BUILT.call_once(|| build_examples(&profile));
    profile.join("examples").join(name)
}

/// Has cargo build the examples, unless the test was started without it.
fn build_examples(profile: &Path) {
    let (Some(cargo), Some(package)) = (env::var_os("CARGO"), env::var_os("CARGO_MANIFEST_DIR"))
    else {
        return;
    };
    let target = profile.parent().expect("target");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--examples", "--manifest-path"]);
    build.arg(Path::new(&package).join("Cargo.toml"));
    // Each `--target` has a directory of its own below the target directory. Only the latter is
    // tagged, unless it was there before cargo came, and has what cargo knows of the compiler.
    let own = ["CACHEDIR.TAG", ".rustc_info.json"];
    if own.iter().any(|file| target.join(file).exists()) {
        build.arg("--target-dir").arg(target);
    } else {
        let triple = target.file_name().expect("the name of a target");
        let above = target.parent().expect("the target directory");
        build
            .arg("--target")
            .arg(triple)
            .arg("--target-dir")
            .arg(above);
    }
    if profile.ends_with("release") {
        build.arg("--release");
    }
    let status = build.status().expect("cargo runs");
    assert!(status.success(), "the examples do not build");
}

fn beside_the_tests() -> PathBuf {
    let test = env::current_exe().expect("the test has a path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    profile.to_owned()
}
