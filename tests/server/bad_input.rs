//! Settings that a user may get wrong: the server prints one clear line, ends with status 2, and
//! never panics.

use crate::support::server;
use std::net::TcpListener;
use std::process::Command;

fn refuses(name: &str, value: &str, error: &str) {
    // A server that starts in spite of it would never end.
    let output = Command::new("timeout")
        .arg("10")
        .arg(server("hyper"))
        .env("ADDR", "127.0.0.1:0")
        .env(name, value)
        .output()
        .expect("the example was built");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, format!("error: {error}\n"), "{name}={value}");
    assert_eq!(output.status.code(), Some(2), "{name}={value}");
    assert!(output.stdout.is_empty(), "{name}={value}: {output:?}");
}

#[test]
fn a_bad_address_is_an_error() {
    for addr in ["", "localhost", "127.0.0.1", "127.0.0.1:65536", ":80"] {
        let error = format!("ADDR is '{addr}', and not an address and port like 127.0.0.1:8080");
        refuses("ADDR", addr, &error);
    }
}

#[test]
fn a_port_in_use_is_an_error() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("a bound listener").to_string();
    let error = std::io::Error::from_raw_os_error(98);
    refuses("ADDR", &addr, &format!("can't listen on {addr}: {error}"));
}

#[test]
fn a_grace_period_of_zero_is_an_error() {
    refuses(
        "GRACE_MS",
        "0",
        "GRACE_MS is 0: no request in flight could finish",
    );
}

#[test]
fn a_duration_that_is_not_a_number_is_an_error() {
    for name in [
        "GRACE_MS",
        "LAME_DUCK_MS",
        "ABORT_GRACE_MS",
        "KEEP_ALIVE_GRACE_MS",
        "FIRST_REQUEST_GRACE_MS",
    ] {
        for value in ["abc", "", "-1", "1.5", "10s", "99999999999999999999999"] {
            let error = format!("{name} is '{value}', and not a number of milliseconds");
            refuses(name, value, &error);
        }
    }
}

#[test]
fn a_tls_setting_other_than_0_or_1_is_an_error() {
    refuses("TLS", "2", "TLS is '2', and neither 0 nor 1");
}

/// No descriptor is left for the pipe behind the handler.
#[test]
fn a_signal_that_cannot_be_caught_is_an_error() {
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 4; exec timeout 10 \"$0\""])
        .arg(server("hyper"))
        .env("ADDR", "127.0.0.1:0")
        .output()
        .expect("the example was built");
    let error = std::io::Error::from_raw_os_error(24);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("error: can't catch [Term, Int]: {error}\n")
    );
    assert_eq!(output.status.code(), Some(2));
}
