//! `Linger` in the test's own process, with a short stall limit.

use async_drain::net::{Connection, Linger};
use async_drain::{Drain, Guard, Report};
use futures_lite::future::{block_on, or, pending, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use smol::Async;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const STALL_LIMIT: Duration = Duration::from_millis(400);

/// More than a peer's kernel buffers, and what ours takes at once.
const MUCH: usize = 1_000_000;

/// Connects a peer whose kernel buffers about 64 KB.
fn small_peer(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    socket.set_recv_buffer_size(32 * 1024).expect("a socket");
    socket.connect(&addr.into()).expect("a listener");
    socket.into()
}

/// A connection and its guard, which is dropped after it.
struct Conn {
    io: Linger<Async<TcpStream>>,
    _guard: Guard,
}

/// Accepts one connection, with a drain that has begun.
fn accepted() -> (Drain, Conn, TcpStream) {
    let drain = Drain::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound listener");
    let mut incoming = drain.accept(listener).stall_limit(STALL_LIMIT);
    let peer = small_peer(addr);
    let accepted = block_on(incoming.next()).expect("one in the queue");
    let connection = accepted.expect("no error");
    drain.begin();
    drop(incoming);
    let Connection { io, guard, .. } = connection;
    (drain, Conn { io, _guard: guard }, peer)
}

fn report(drain: &Drain) -> Report {
    block_on(drain.finish(pending::<()>()))
}

/// Z8: a close goes on while the peer acknowledges, even if the peer has nothing more to send.
#[test]
fn a_close_lasts_for_as_long_as_bytes_are_acknowledged() {
    for half_closed in [false, true] {
        let (drain, mut conn, mut peer) = accepted();
        if half_closed {
            peer.shutdown(Shutdown::Write).expect("an open connection");
        }
        let reader = thread::spawn(move || {
            let mut read = 0;
            let mut chunk = vec![0; 50_000];
            loop {
                thread::sleep(STALL_LIMIT / 8);
                match peer.read(&mut chunk).expect("no reset") {
                    0 => return read,
                    size => read += size,
                }
            }
        });
        let begun = Instant::now();
        block_on(async {
            conn.io.write_all(&vec![0; MUCH]).await?;
            conn.io.close().await
        })
        .expect("an open connection");
        assert!(
            begun.elapsed() > STALL_LIMIT * 3 / 2,
            "{:?}",
            begun.elapsed()
        );
        drop(conn);
        assert_eq!(reader.join().expect("no panic"), MUCH);
        assert!(report(&drain).is_drained());
    }
}

/// S8, Z8: a peer that acknowledges nothing is reset, and the connection reports that it was
/// abandoned.
#[test]
fn a_connection_that_stalls_is_reset_and_reported() {
    let (drain, mut conn, mut peer) = accepted();
    let begun = Instant::now();
    block_on(async {
        conn.io.write_all(&vec![0; MUCH]).await?;
        conn.io.close().await
    })
    .expect("an open connection");
    assert!(begun.elapsed() >= STALL_LIMIT, "{:?}", begun.elapsed());
    drop(conn);
    let error = peer.read_to_end(&mut Vec::new()).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(report(&drain).stragglers().total(), 1);
}

/// S8: so does a connection that is dropped with bytes on their way.
#[test]
fn a_connection_that_is_dropped_with_bytes_on_their_way_is_reported() {
    let (drain, mut conn, _peer) = accepted();
    block_on(conn.io.write_all(&vec![0; MUCH])).expect("an open connection");
    drop(conn);
    assert_eq!(report(&drain).stragglers().total(), 1);
}

/// S8: a connection that its peer has reset is not abandoned.
#[test]
fn a_connection_that_its_peer_has_reset_is_not_reported() {
    let (drain, mut conn, peer) = accepted();
    block_on(conn.io.write_all(&vec![0; MUCH])).expect("an open connection");
    Socket::from(peer)
        .set_linger(Some(Duration::ZERO))
        .expect("a socket");
    // The read clears the socket's error.
    block_on(conn.io.read(&mut [0])).expect_err("a reset");
    drop(conn);
    assert!(report(&drain).is_drained());
}

/// Z8: arriving bytes do not extend the wait: a peer that sends for ever is closed after the stall
/// limit.
#[test]
fn a_peer_that_sends_for_ever_is_not_waited_for() {
    let (drain, mut conn, mut peer) = accepted();
    let sender = thread::spawn(move || {
        while peer.write_all(&[0; 4096]).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    });
    let begun = Instant::now();
    let close = async {
        conn.io.read_exact(&mut [0; 1]).await?;
        conn.io.close().await
    };
    let too_long = async {
        smol::Timer::after(STALL_LIMIT * 8).await;
        Ok(())
    };
    block_on(or(close, too_long)).expect("an open connection");
    let took = begun.elapsed();
    assert!((STALL_LIMIT..STALL_LIMIT * 4).contains(&took), "{took:?}");
    drop(conn);
    sender.join().expect("no panic");
    assert!(report(&drain).is_drained());
}

/// A connection can be read and written by reference and half-closed, as a proxy needs.
#[test]
fn a_connection_is_used_by_reference_and_half_closed() {
    let (_drain, mut conn, mut peer) = accepted();
    let asked = thread::spawn(move || -> Result<String> {
        let mut answer = String::new();
        peer.read_to_string(&mut answer)?;
        // Our side has ended, the peer's has not.
        peer.write_all(b"after the end")?;
        Ok(answer)
    });
    let shared = &conn.io;
    let write = async {
        let mut writer = shared;
        writer.write_all(b"hello").await?;
        shared.shutdown(Shutdown::Write)
    };
    let read = async {
        let (mut reader, mut text) = (shared, String::new());
        reader.read_to_string(&mut text).await.map(|_| text)
    };
    let (written, read) = block_on(zip(write, read));
    written.expect("an open connection");
    assert_eq!(read.expect("no reset"), "after the end");
    assert_eq!(asked.join().expect("no panic").expect("no reset"), "hello");
    block_on(conn.io.close()).expect("an open connection");
}
