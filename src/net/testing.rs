use std::{
    io,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// Waits until peers are refused. A child that another test has forked holds the descriptors of
/// this process, and so a listener that was closed, until it runs its program.
pub(super) fn wait_until_refused(address: SocketAddr) {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    let error = loop {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(_) => assert!(begun.elapsed() < TIMEOUT, "it still listens"),
            Err(error) => break error,
        }
        thread::yield_now();
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}
