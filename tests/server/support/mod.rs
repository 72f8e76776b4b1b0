//! What a test of a real server process needs: the process, and peers that speak to it byte by
//! byte.
//!
//! `response`, `frames` and `process` are shared with `examples/loss`, so that no protocol is
//! parsed in two places.

pub(crate) mod client;
pub(crate) mod frames;
pub(crate) mod h2;
pub(crate) mod process;
pub(crate) mod response;
pub(crate) mod subject;
pub(crate) mod tls;

/// The built example `name`, which `cargo test` leaves beside the tests.
pub(crate) fn example(name: &str) -> std::path::PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    profile.join("examples").join(name)
}
