//! The recipes of this package, each as the process that an operator sees, and the executors that the main package
//! leaves out.

#[allow(dead_code, reason = "each test uses its part")]
#[path = "../../../tests/server/support/mod.rs"]
mod support;

#[path = "../../../tests/adapters/scene.rs"]
mod scene;

mod executors;
mod grpc;
mod http3;

use std::{path::PathBuf, time::Duration};

/// Enough for anything that should not have to wait.
const SOON: Duration = Duration::from_secs(10);

/// Where cargo has put an example of this package.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path of our own");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps");
    profile.join("examples").join(name)
}
