use std::{env, process::Command};

use testkit::generations::{Hand, play};

use crate::example;

/// Z1, Z2: three restarts under load, which no client notices.
#[test]
fn a_supervisor_restarts_its_server_without_a_loss() {
    let mut supervisor = Command::new(example("supervisor"));
    supervisor.env("ADDR", "127.0.0.1:0").arg(server());
    let seen = play(Hand::Hangup(supervisor), 3, false).expect("it serves");
    assert!(seen.is_clean(), "{seen:?}");
}

/// Returns the server of testkit, which cargo has built if it tests the whole workspace.
fn server() -> std::path::PathBuf {
    let server = testkit::server("hyper");
    if !server.exists() {
        let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "testkit", "--bin", "hyper"]);
        assert!(build.status().expect("cargo runs").success());
    }
    server
}
