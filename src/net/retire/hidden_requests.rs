//! A kernel that answers every connection request by a cookie, and tells of none.

use std::{
    env,
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use super::EMPTYING;
use crate::net::retire;

/// Z1: handshakes that may be under way, of which the kernel doesn't tell, are waited for.
#[test]
fn requests_that_are_hidden_are_waited_for() {
    const NAME: &str = "net::retire::hidden_requests::requests_that_are_hidden_are_waited_for";
    const VARIABLE: &str = "WITH_COOKIES";
    if env::var_os(VARIABLE).is_some() {
        let mut retired = retire(TcpListener::bind("127.0.0.1:0").unwrap());
        let begun = Instant::now();
        while !retired.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = begun.elapsed();
        assert!(took > EMPTYING / 2, "{took:?}");
        return;
    }
    // In a network of its own, whose settings are its own.
    let command = format!(
        "ip link set lo up && echo 2 >/proc/sys/net/ipv4/tcp_syncookies || {{ echo SKIPPED; exit; }}
        exec \"$0\" --exact {NAME}"
    );
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", &command])
        .arg(env::current_exe().unwrap())
        .env(VARIABLE, "1")
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: no unshare");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("SKIPPED") || text.is_empty() {
        eprintln!("SKIPPED: no network of its own: {output:?}");
        return;
    }
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}
