//! Members of a `SO_REUSEPORT` group hand their new connections to each other.

use async_drain::Drain;
use async_drain::net::{Group, retire};
use futures_lite::future::block_on;
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A SYN that is dropped is sent again after a second.
const A_RETRY: Duration = Duration::from_millis(900);

fn member(addr: SocketAddr) -> TcpListener {
    let listener = crate::support::serve::member(addr).expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    listener
}

/// Makes a group of listeners.
fn group<const N: usize>(ip: &str) -> [TcpListener; N] {
    let first = member(SocketAddr::new(ip.parse().expect("an address"), 0));
    let addr = first.local_addr().expect("a bound listener");
    let mut first = Some(first);
    [(); N].map(|()| first.take().unwrap_or_else(|| member(addr)))
}

/// Connects 40 peers, and returns how many each member gets.
fn shares<const N: usize>(members: [&TcpListener; N]) -> [usize; N] {
    let addr = members[0].local_addr().expect("a bound listener");
    let _peers = [(); 40].map(|()| {
        TcpStream::connect_timeout(&addr, A_RETRY).expect("a member that accepts at once")
    });
    members.map(|member| std::iter::from_fn(|| member.accept().ok()).count())
}

/// Waits until a retired listener can be closed.
fn emptied(mut is_empty: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it is never empty"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

/// Z1: new connections go to the siblings of a member that retires, whatever its number.
#[test]
fn a_retiring_member_gets_no_connection_and_no_peer_waits() {
    for ip in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
        let [first, second, third] = group(ip);
        // The last one takes the place of the first.
        drop(first);
        for (retiring, sibling) in [(&second, &third), (&third, &second)] {
            let mut retired = retire(Group(retiring));
            assert_eq!(shares([retiring, sibling]), [0, 40], "{ip}");
            emptied(|| retired.is_empty());
            drop(retired);
            // Puts an end to what the retired one has left in the group.
            let drain = Drain::new();
            drop(drain.accept(Group(sibling.try_clone().expect("a descriptor"))));
            assert!(
                shares([retiring, sibling]).iter().all(|&share| share > 0),
                "{ip}"
            );
        }
    }
}

/// Z1: with several siblings, each member is steered away from, and only from it.
#[test]
fn every_member_of_a_group_may_retire() {
    let members: [TcpListener; 4] = group("127.0.0.1");
    for retiring in &members {
        let retired = retire(Group(retiring));
        let shares = shares([&members[0], &members[1], &members[2], &members[3]]);
        for (member, share) in members.iter().zip(shares) {
            if std::ptr::eq(member, retiring) {
                assert_eq!(share, 0);
            }
        }
        assert_eq!(shares.iter().sum::<usize>(), 40);
        drop(retired);
    }
}

/// Z1: a member without siblings retires as any other listener.
#[test]
fn a_member_without_siblings_queues_no_connections() {
    let [alone] = group("127.0.0.1");
    let addr = alone.local_addr().expect("a bound listener");
    let mut retired = retire(Group(alone));
    let late = TcpStream::connect_timeout(&addr, Duration::from_millis(300));
    let error = late.expect_err("nobody accepts it");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    emptied(|| retired.is_empty());
    drop(retired);
    let late = TcpStream::connect(addr).expect_err("it is closed");
    assert_eq!(late.kind(), ErrorKind::ConnectionRefused, "{late}");
}

/// Z1: members that are told to stop together retire one after the other.
#[test]
fn a_member_waits_while_a_sibling_retires() {
    let [first, second, third] = group("127.0.0.1");
    let mut one = retire(Group(first));
    let mut two = retire(Group(second));
    assert!(!two.is_empty(), "it still accepts");
    emptied(|| one.is_empty());
    drop(one);
    // The last one has taken the first one's place.
    emptied(|| two.is_empty());
    assert_eq!(shares([&third, &two.get_ref().0]), [40, 0]);
}

/// Z1: a member that joins later gets its share, whatever a retired one has left behind.
#[test]
fn a_newcomer_gets_its_share_after_a_sibling_has_retired() {
    let [first, second] = group("127.0.0.1");
    let mut retired = retire(Group(first));
    emptied(|| retired.is_empty());
    drop(retired);
    let newcomer = member(second.local_addr().expect("a bound listener"));
    let drain = Drain::new();
    let clone = newcomer.try_clone().expect("a descriptor");
    let _incoming = drain.accept(Group(clone));
    assert!(shares([&second, &newcomer]).iter().all(|&share| share > 0));
}

/// Z1: a member that joins while a sibling retires, and after that, gets a share too.
#[test]
fn a_newcomer_during_a_retirement_gets_its_share() {
    let [first, second] = group("127.0.0.1");
    let addr = second.local_addr().expect("a bound listener");
    let mut retired = retire(Group(first));
    let newcomer = member(addr);
    let drain = Drain::new();
    let _incoming = drain.accept(Group(newcomer.try_clone().expect("a descriptor")));
    emptied(|| retired.is_empty());
    drop(retired);
    assert!(shares([&second, &newcomer]).iter().all(|&share| share > 0));
}

/// Serves one byte for one until the drain begins, on several members at once.
fn serve(drain: &Drain, members: Vec<TcpListener>) -> impl FnOnce() + Send + use<> {
    let incoming: Vec<_> = members
        .into_iter()
        .map(|member| drain.accept(Group(member)))
        .collect();
    move || {
        thread::scope(|scope| {
            for incoming in incoming {
                scope.spawn(|| {
                    block_on(incoming.for_each(|accepted| {
                        block_on(async {
                            let mut conn = accepted.expect("no error").io;
                            conn.read_exact(&mut [0]).await?;
                            conn.write_all(b"!").await?;
                            conn.close().await
                        })
                        .expect("a peer that stays");
                    }));
                });
            }
        });
    }
}

/// Z1: ten generations of three members each, each told to stop at once, lose no connection, and no
/// peer has to connect twice.
#[test]
fn generations_of_a_group_lose_no_connection_and_no_peer_waits() {
    const GENERATIONS: usize = 10;
    const MEMBERS: usize = 3;
    const ENOUGH: usize = 40;
    let members: [TcpListener; MEMBERS] = group("127.0.0.1");
    let addr = members[0].local_addr().expect("a bound listener");
    let answered = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let slowest = Mutex::new(Duration::ZERO);
    let ask = || {
        while !over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let mut peer = TcpStream::connect(addr).expect("a member listens");
            let took = begun.elapsed();
            peer.set_read_timeout(Some(Duration::from_secs(10)))
                .expect("a socket");
            peer.write_all(b"?").expect("an open connection");
            peer.read_exact(&mut [0]).expect("an answer");
            answered.fetch_add(1, Ordering::Relaxed);
            let mut slowest = slowest.lock().expect("no panic");
            *slowest = took.max(*slowest);
        }
    };
    thread::scope(|scope| {
        let clients = [(); 6].map(|()| scope.spawn(ask));
        let mut drain = Drain::new();
        let mut serving = scope.spawn(serve(&drain, members.into()));
        for _ in 0..GENERATIONS {
            let since = answered.load(Ordering::Relaxed);
            while answered.load(Ordering::Relaxed) < since + ENOUGH {
                thread::yield_now();
                if clients.iter().any(thread::ScopedJoinHandle::is_finished) {
                    break;
                }
            }
            let successor = Drain::new();
            let members = [(); MEMBERS].map(|()| member(addr));
            let succeeding = scope.spawn(serve(&successor, members.into()));
            drain.begin();
            serving.join().expect("no panic");
            (drain, serving) = (successor, succeeding);
        }
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no connection is lost or refused");
        }
        drain.begin();
    });
    let slowest = slowest.into_inner().expect("no panic");
    assert!(slowest < A_RETRY, "{slowest:?}");
}
