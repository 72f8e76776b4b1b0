//! `net::retire`, for accept loops that are not ours.

use async_drain::net::retire;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound listener");
    (listener, addr)
}

fn answer(mut conn: TcpStream) -> Result<()> {
    conn.read_exact(&mut [0])?;
    conn.write_all(b"!")
}

/// Runs an accept loop on std in a thread.
fn serve(listener: TcpListener, stop: &AtomicBool) -> Result<()> {
    listener.set_nonblocking(true)?;
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((conn, _)) => {
                conn.set_nonblocking(false)?;
                thread::spawn(|| answer(conn));
            }
            Err(_) => thread::yield_now(),
        }
    }
    let mut retired = retire(listener);
    while !retired.is_empty() {
        if retired.has_queued() {
            let (conn, _) = retired.get_ref().accept()?;
            conn.set_nonblocking(false)?;
            thread::spawn(|| answer(conn));
        } else {
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Connects again and again until refused; returns the first loss.
fn ask(addr: SocketAddr, answered: &AtomicUsize) -> Option<Error> {
    loop {
        let mut conn = match TcpStream::connect_timeout(&addr, Duration::from_secs(5)) {
            Ok(conn) => conn,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return None,
            Err(error) => return Some(error),
        };
        let answer = conn
            .set_read_timeout(Some(Duration::from_secs(10)))
            .and_then(|()| conn.write_all(b"?"))
            .and_then(|()| conn.read_exact(&mut [0]));
        if let Err(error) = answer {
            return Some(error);
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Z1: an accept loop of the program's own loses no connection in a storm of them.
#[test]
fn a_storm_on_an_accept_loop_of_threads_loses_no_connection() {
    for _ in 0..10 {
        let (listener, addr) = listener();
        let (answered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let lost: Vec<_> = thread::scope(|scope| {
            let serving = scope.spawn(|| serve(listener, &stop));
            let peers = [(); 8].map(|()| scope.spawn(|| ask(addr, &answered)));
            while answered.load(Ordering::Relaxed) < 100 {
                thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            serving.join().expect("no panic").expect("no error");
            let ends = peers.into_iter().map(|peer| peer.join().expect("no panic"));
            ends.flatten().map(|error| error.to_string()).collect()
        });
        assert_eq!(lost, Vec::<String>::new());
    }
}

/// Z1: what is queued is accepted; then the listener can be closed.
#[test]
fn a_retired_listener_is_empty_when_its_queue_is() {
    let (listener, addr) = listener();
    let _queued = [(); 3].map(|()| TcpStream::connect(addr).expect("room in the queue"));
    let mut retired = retire(listener);
    for _ in 0..3 {
        assert!(!retired.is_empty());
        assert!(retired.has_queued());
        retired.get_ref().accept().expect("one more in the queue");
    }
    assert!(retired.is_empty());
    #[cfg(target_os = "linux")]
    {
        let late = TcpStream::connect_timeout(&addr, Duration::from_millis(300));
        let error = late.expect_err("nobody accepts it");
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    }
    drop(retired);
    let late = TcpStream::connect(addr).expect_err("it is closed");
    assert_eq!(late.kind(), ErrorKind::ConnectionRefused, "{late}");
}

/// Z1: dropping the value lets others that hold the socket go on.
#[test]
fn dropping_the_retirement_undoes_it() {
    let (listener, addr) = listener();
    let mut retired = retire(&listener);
    assert!(retired.is_empty());
    drop(retired);
    let soon = Duration::from_millis(500);
    let _late = TcpStream::connect_timeout(&addr, soon).expect("the listener goes on");
    listener.accept().expect("one in the queue");
}
