//! The recipes, each as the process that an operator sees.

#[allow(dead_code, reason = "each test uses its part")]
#[path = "../server/support/mod.rs"]
mod support;

mod axum;
mod blocking;
mod children;
mod line_echo;
mod program;
mod smol_main;
mod websocket;
mod worker;

use std::{path::PathBuf, time::Duration};

/// Enough for anything that should not have to wait.
const SOON: Duration = Duration::from_secs(10);

/// Where cargo has put an example of this package.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path of our own");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps");
    profile.join("examples").join(name)
}
