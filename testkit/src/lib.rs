//! What tests, load tools, benches and example servers of async-drain share.
//!
//! - [`process`]: a server as its operator sees it, with signals and an exit status
//! - [`client`], [`h2`], `tls`: blocking peers that speak to it byte by byte, over [`response`] and
//!   [`frames`], so that no protocol is parsed in two places
//! - [`settings`], [`routes`] and [`serve`]: what the HTTP servers offer, and how they begin and
//!   end
//! - `scene`: one request in flight while a drain runs, for any executor
//! - `meter`: the asynchronous clients of `loss` and `storm`, and how they count
//!
//! The servers that tests drive are programs of this package: `hyper`, `local` and `axum`.

#[cfg(feature = "hyper")]
pub mod certificate;
pub mod client;
pub mod frames;
pub mod h2;
#[cfg(all(unix, feature = "meter"))]
pub mod meter;
#[cfg(unix)]
pub mod process;
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

use std::path::PathBuf;

/// Returns a program of this package, which cargo builds before it runs the package's tests.
pub fn server(name: &str) -> PathBuf {
    beside_the_tests().join(name)
}

/// Returns an example of the package whose test is running. Cargo builds it only if it is told to.
pub fn example(name: &str) -> PathBuf {
    beside_the_tests().join("examples").join(name)
}

fn beside_the_tests() -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    profile.to_owned()
}
