//! `Drain::accept` in the test's own process, where the listener can be looked at between two polls.

use async_drain::net::{Accept, Accepted};
use async_drain::{Drain, Phase};
use futures_lite::future::{block_on, poll_once};
use futures_lite::{StreamExt, stream};
use smol::Async;
use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

/// How many connections are handed out before other tasks have their turn; the listener is retired
/// then, but not closed.
const BURST: usize = 32;

fn listener() -> (Async<TcpListener>, SocketAddr) {
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    (listener, addr)
}

fn refused(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Z1: between the signal and the close the kernel promises nothing to anybody: no newcomer is queued, only to be reset.
#[cfg(target_os = "linux")]
#[test]
fn a_retired_listener_queues_nobody() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let queued = [(); BURST].map(|()| TcpStream::connect(addr).expect("room in the queue"));
    let mut incoming = drain.accept(listener);
    drain.begin();
    for _ in &queued {
        let accepted = block_on(incoming.next()).expect("one more in the queue");
        drop(accepted.expect("no error"));
    }
    assert!(block_on(poll_once(incoming.next())).is_none(), "it closed");
    let newcomer = TcpStream::connect_timeout(&addr, Duration::from_millis(300));
    let error = newcomer.expect_err("nobody takes it from the queue");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(block_on(incoming.next()).is_none());
    assert!(refused(addr));
}

/// Z1, Z5: all who are queued are accepted, each with a guard of its own; then the drain is drained with the last of them.
#[test]
fn the_queue_is_emptied_and_each_has_a_guard() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let _queued = [(); 50].map(|()| TcpStream::connect(addr).expect("room in the queue"));
    let incoming = drain.accept(listener);
    drain.begin();
    assert_eq!(drain.phase(), Phase::Draining, "the queue is not empty");
    let accepted: Vec<_> = block_on(incoming.collect());
    assert_eq!((accepted.len(), drain.in_flight()), (50, 50));
    assert!(refused(addr));
    drop(accepted);
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Z1: a Unix listener refuses newcomers from the moment it retires, and those in its queue are accepted.
#[test]
fn a_unix_listener_retires_without_loss() {
    let directory = std::env::temp_dir().join(format!("async-drain-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a writable directory");
    let path = directory.join("socket");
    let drain = Drain::new();
    let listener = Async::<UnixListener>::bind(&path).expect("a free path");
    let queued = [(); BURST].map(|()| UnixStream::connect(&path).expect("room in the queue"));
    let mut incoming = drain.accept(listener);
    drain.begin();
    for _ in &queued {
        let accepted = block_on(incoming.next()).expect("one more in the queue");
        drop(accepted.expect("no error"));
    }
    assert!(block_on(poll_once(incoming.next())).is_none(), "it closed");
    let error = UnixStream::connect(&path).expect_err("nobody takes it from the queue");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    assert!(block_on(incoming.next()).is_none());
    drop(queued);
    std::fs::remove_dir_all(&directory).expect("a writable directory");
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Z1: the queue of an inherited listener is its successor's, and so are those who come later.
#[test]
fn an_inherited_listener_is_left_to_its_successor() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let successor = listener.get_ref().try_clone().expect("a descriptor");
    let mut incoming = drain.accept(listener).inherited(true);
    let first = TcpStream::connect(addr).expect("room in the queue");
    assert!(block_on(incoming.next()).is_some_and(|accepted| accepted.is_ok()));
    let queued = [(); 3].map(|()| TcpStream::connect(addr).expect("room in the queue"));
    drain.begin();
    assert!(block_on(incoming.next()).is_none());
    let late = TcpStream::connect(addr).expect("the successor listens");
    for client in queued.iter().chain([&late]) {
        let (_, peer) = successor.accept().expect("one more in the queue");
        assert_eq!(peer, client.local_addr().expect("a connected socket"));
    }
    drop(first);
}

/// A queue that the test fills.
#[derive(Clone, Default)]
struct Queue {
    queued: Rc<RefCell<Vec<Async<UnixStream>>>>,
    /// Whose handshake is under way, and ends as soon as that has been asked for.
    late: Rc<RefCell<Option<Async<UnixStream>>>>,
    may_grow: bool,
}

impl Accept for Queue {
    type Conn = Async<UnixStream>;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Accepted<Self::Conn>>>> {
        match self.queued.borrow_mut().pop() {
            Some(conn) => Poll::Ready(Some(Ok((conn, None)))),
            None => Poll::Pending,
        }
    }

    fn may_grow(&self) -> bool {
        self.queued.borrow_mut().extend(self.late.take());
        self.may_grow
    }
}

/// Z1: a handshake may end after the queue was found empty, and before it is asked whether any is under way.
#[test]
fn who_is_queued_at_the_last_moment_is_accepted() {
    let (_peer, conn) = Async::<UnixStream>::pair().expect("two descriptors");
    let queue = Queue::default();
    queue.late.replace(Some(conn));
    let drain = Drain::new();
    let mut incoming = drain.accept(queue);
    drain.begin();
    assert!(block_on(incoming.next()).is_some_and(|accepted| accepted.is_ok()));
    assert!(block_on(incoming.next()).is_none());
}

/// Z1: a process that is held up for longer than it would wait for more finds those who waited for it.
#[test]
fn who_is_queued_while_the_process_is_frozen_is_accepted() {
    let queue = Queue {
        may_grow: true,
        ..Queue::default()
    };
    let drain = Drain::new();
    let mut incoming = drain.accept(queue.clone());
    drain.begin();
    assert!(block_on(poll_once(incoming.next())).is_none(), "it closed");
    // For longer than a retired listener waits.
    thread::sleep(Duration::from_millis(600));
    let pairs = [(); 2].map(|()| Async::<UnixStream>::pair().expect("two descriptors"));
    let (_peers, conns): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    queue.queued.borrow_mut().extend(conns);
    for _ in 0..2 {
        assert!(block_on(incoming.next()).is_some_and(|accepted| accepted.is_ok()));
    }
    assert!(block_on(incoming.next()).is_none());
}

/// Z1: where a retired listener still lets peers in, they do not keep it open for ever.
#[test]
fn peers_without_end_do_not_keep_it_open() {
    let pairs = stream::repeat_with(|| Async::<UnixStream>::pair().map(|(conn, _)| conn));
    let drain = Drain::new();
    let mut incoming = drain.accept(pairs);
    drain.begin();
    let begun = Instant::now();
    while block_on(incoming.next()).is_some() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it goes on");
    }
}

/// Z11: a drain that ended before anyone accepted: the listener is closed, and nothing waits.
#[test]
fn a_drain_that_is_drained_accepts_nobody() {
    let drain = Drain::new();
    drain.begin();
    assert_eq!(drain.phase(), Phase::Drained);
    let (listener, addr) = listener();
    let mut incoming = drain.accept(listener);
    assert!(block_on(incoming.next()).is_none());
    assert!(refused(addr));
}

/// Z11: dropping it is an end too; the drain does not wait for what does not accept any more.
#[test]
fn dropping_it_closes_the_listener_and_holds_no_drain() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let incoming = drain.accept(listener);
    drain.begin();
    assert_eq!(drain.phase(), Phase::Draining);
    drop(incoming);
    assert_eq!(drain.phase(), Phase::Drained);
    assert!(refused(addr));
}

/// Z10: a stream of connections that only fails is asked ever more rarely, and ends when draining begins.
#[test]
fn failing_for_ever_is_neither_busy_nor_an_end() {
    let drain = Drain::new();
    let (sender, failures) = channel();
    let failing = stream::repeat_with(move || {
        sender.send(()).expect("the test counts");
        Err::<Async<TcpStream>, _>(Error::other("no connection today"))
    });
    let mut incoming = drain.accept(failing);
    let handle = drain.clone();
    let counter = thread::spawn(move || {
        let first = failures.iter().take(4).count();
        handle.begin();
        first + failures.iter().count()
    });
    assert!(block_on(incoming.next()).is_none());
    drop(incoming);
    let failed = counter.join().expect("no panic");
    // 10, 20 and 40 ms apart; the next would come 80 ms later.
    assert!(failed <= 8, "asked {failed} times");
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Z1, Z10: who is queued when descriptors have run out is accepted once there are some again, though the accept loop had
/// meant to wait for longer than it takes to empty the queue.
#[test]
fn a_long_back_off_does_not_outlast_the_emptying() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let _queued = TcpStream::connect(addr).expect("room in the queue");
    let handle = drain.clone();
    let mut calls = 0;
    let mut incoming = drain.accept(stream::repeat_with(move || {
        calls += 1;
        match calls {
            // 10 to 320 ms apart; the next would come 640 ms later.
            1..7 => Err(Error::from_raw_os_error(24)),
            7 => {
                handle.begin();
                Err(Error::from_raw_os_error(24))
            }
            8 => Ok(Async::new(listener.get_ref().accept()?.0)?),
            _ => Err(ErrorKind::ConnectionAborted.into()),
        }
    }));
    let accepted = block_on(incoming.next()).expect("who was queued");
    drop(accepted.expect("no error"));
}
