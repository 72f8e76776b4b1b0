//! `Drain::accept` in the test's own process, where a test can look at the listener between two
//! polls.

use crate::in_process::{listener, ten_generations};
use async_drain::net::{Accept, Connections, IntoAccept, Shared, bind_unix};
use async_drain::{Drain, Phase};
use futures_lite::future::{block_on, or, poll_once};
use futures_lite::{Stream, StreamExt, stream};
use smol::{Async, Timer};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// After this many queued connections the listener is retired, even if there are more, and the
/// accept loop yields to other tasks before it closes the listener.
const BURST: usize = 128;

fn refused(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Z1: between the signal and the close the kernel queues no new connection, only to reset it
/// later.
#[cfg(target_os = "linux")]
#[test]
fn a_retired_listener_queues_no_connections() {
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
    let error = newcomer.expect_err("no accept takes it from the queue");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(block_on(incoming.next()).is_none());
    assert!(refused(addr));
}

/// Z1, Z5: all queued connections are accepted, each with a guard; the drain is drained when the
/// last one ends.
#[test]
fn the_queue_is_emptied_and_each_connection_has_a_guard() {
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

/// A path for a Unix socket in a directory of its own, which is removed with it.
struct Socket(PathBuf);

impl Socket {
    fn new(name: &str) -> Self {
        let directory = format!("async-drain-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        std::fs::create_dir_all(&directory).expect("a writable directory");
        Self(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // At worst an empty directory is left.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Binds a path and begins a drain while peers are in the queue. Returns the stream that has
/// accepted them all and still listens, and the peers.
fn retired(
    path: &Path,
) -> (
    Drain,
    impl Stream<Item = Result<impl Sized>> + Unpin,
    [UnixStream; BURST],
) {
    let drain = Drain::new();
    let listener = bind_unix(path).expect("a free path");
    let queued = [(); BURST].map(|()| UnixStream::connect(path).expect("room in the queue"));
    let mut incoming = drain.accept(listener);
    drain.begin();
    for _ in &queued {
        let accepted = block_on(incoming.next()).expect("one more in the queue");
        drop(accepted.expect("no error"));
    }
    assert!(block_on(poll_once(incoming.next())).is_none(), "it closed");
    (drain, incoming, queued)
}

/// Z1: a Unix listener that no other process can hold refuses new peers as soon as it retires, and
/// accepts those in its queue.
#[test]
fn a_unix_listener_retires_without_loss() {
    let socket = Socket::new("alone");
    let path = socket.path();
    let (drain, mut incoming, queued) = retired(&path);
    let error = UnixStream::connect(&path).expect_err("no accept takes it from the queue");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    assert!(block_on(incoming.next()).is_none());
    drop(queued);
    assert_eq!(drain.phase(), Phase::Drained);
}

/// A path on which nobody listens is replaced, and is removed with its listener; the path of a
/// listener is never taken from it.
#[test]
fn a_stale_unix_path_is_replaced_and_a_live_one_is_not() {
    let socket = Socket::new("stale");
    let path = socket.path();
    // Std leaves its path behind.
    drop(UnixListener::bind(&path).expect("a free path"));
    let listener = bind_unix(&path).expect("nobody listens");
    let error = bind_unix(&path).expect_err("a listener");
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    let _peer = UnixStream::connect(&path).expect("it is as it was");
    drop(listener);
    assert!(!path.exists());
    std::fs::write(&path, "no socket").expect("a writable directory");
    let error = bind_unix(&path).expect_err("a file");
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    assert_eq!(std::fs::read(&path).expect("it is as it was"), b"no socket");
}

/// A Unix listener that retires leaves its path to the one that has bound it in the meantime.
#[test]
fn a_unix_path_is_left_to_a_successor() {
    let socket = Socket::new("successor");
    let path = socket.path();
    let (_drain, mut incoming, _queued) = retired(&path);
    let _successor = bind_unix(&path).expect("it has retired");
    assert!(block_on(incoming.next()).is_none());
    let _peer = UnixStream::connect(&path).expect("the successor listens");
}

/// Z1: a Unix listener that another process may hold is emptied, closed, and still works for the
/// other.
#[test]
fn a_unix_listener_that_others_hold_is_left_as_it_was() {
    let socket = Socket::new("shared");
    let drain = Drain::new();
    let listener = UnixListener::bind(socket.path()).expect("a free path");
    let successor = listener.try_clone().expect("a descriptor");
    let queued = [(); 3].map(|()| UnixStream::connect(socket.path()).expect("room in the queue"));
    let incoming = drain.accept(listener);
    drain.begin();
    assert_eq!(block_on(incoming.collect::<Vec<_>>()).len(), queued.len());
    let _late = UnixStream::connect(socket.path()).expect("the successor listens");
    successor.set_nonblocking(true).expect("a socket");
    successor.accept().expect("one in the queue");
}

/// Z1: a TCP listener that another process holds, undeclared, is emptied, and still works for the
/// other.
#[test]
fn a_listener_that_others_hold_is_left_as_it_was() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let successor = listener.get_ref().try_clone().expect("a descriptor");
    let queued = [(); 3].map(|()| TcpStream::connect(addr).expect("room in the queue"));
    let incoming = drain.accept(listener);
    drain.begin();
    assert_eq!(block_on(incoming.collect::<Vec<_>>()).len(), queued.len());
    // A SYN that is dropped is sent again after a second.
    let soon = Duration::from_millis(500);
    let _late = TcpStream::connect_timeout(&addr, soon).expect("the successor listens");
    successor.accept().expect("one in the queue");
}

/// Z1: if ten generations of one process hand one listener on, no connection is lost, and each
/// generation accepts some.
#[test]
fn ten_generations_on_one_listener_lose_no_connection() {
    let (listener, addr) = listener();
    let listener = Arc::new(listener);
    ten_generations(addr, |drain| vec![drain.accept(Arc::clone(&listener))]);
}

/// A source that can't accept.
struct Broken;

impl IntoAccept for Broken {
    type Accept = Queue;

    fn into_accept(self) -> Result<Queue> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// Z11: a source that can't accept yields one error, and does not hold the drain.
#[test]
fn a_listener_that_cannot_be_accepted_from_is_an_error() {
    let drain = Drain::new();
    let mut incoming = drain.accept(Broken);
    let error = block_on(incoming.next()).expect("an item");
    assert_eq!(
        error.expect_err("no listener").kind(),
        ErrorKind::Unsupported
    );
    assert!(block_on(incoming.next()).is_none());
    drain.begin();
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Z1: the queue of a shared listener is left to its successor, and so are later connections.
#[test]
fn a_shared_listener_is_left_to_its_successor() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let successor = listener.get_ref().try_clone().expect("a descriptor");
    let mut incoming = drain.accept(Shared(listener));
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
    /// Reports a connection request until it is asked, and queues its connection then.
    late: Rc<RefCell<Option<Async<UnixStream>>>>,
    may_grow: bool,
}

impl Accept for Queue {
    type Conn = Async<UnixStream>;

    fn poll_accept(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<(Self::Conn, Option<SocketAddr>)>>> {
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

/// Z1: a connection may be queued after the queue was found empty, and before the kernel is asked
/// for connection requests.
#[test]
fn connections_queued_at_the_last_moment_are_accepted() {
    let (_peer, conn) = Async::<UnixStream>::pair().expect("two descriptors");
    let queue = Queue::default();
    queue.late.replace(Some(conn));
    let drain = Drain::new();
    let mut incoming = drain.accept(queue);
    drain.begin();
    assert!(block_on(incoming.next()).is_some_and(|accepted| accepted.is_ok()));
    assert!(block_on(incoming.next()).is_none());
}

/// Reports a connection request the first three times it is asked.
struct Request(Cell<usize>);

impl Accept for Request {
    type Conn = Async<UnixStream>;

    fn poll_accept(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<(Self::Conn, Option<SocketAddr>)>>> {
        Poll::Pending
    }

    fn may_grow(&self) -> bool {
        self.0.set(self.0.get() + 1);
        self.0.get() <= 3
    }
}

/// Z1: a connection request that ends without a connection does not keep the listener open for half
/// a second.
#[test]
fn a_connection_request_that_ends_is_noticed_soon() {
    let drain = Drain::new();
    let mut incoming = drain.accept(Request(Cell::new(0)));
    drain.begin();
    let begun = Instant::now();
    assert!(block_on(incoming.next()).is_none());
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(400), "{took:?}");
}

/// Z1: connections that are queued when draining begins are accepted before new peers get no
/// answer, so that few have to wait.
#[test]
fn a_queue_is_emptied_before_its_listener_retires() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let _queued = [(); 3].map(|()| TcpStream::connect(addr).expect("room in the queue"));
    let mut incoming = drain.accept(listener);
    drain.begin();
    assert!(block_on(incoming.next()).is_some_and(|accepted| accepted.is_ok()));
    let soon = Duration::from_millis(500);
    let _late = TcpStream::connect_timeout(&addr, soon).expect("it still queues");
    assert_eq!(block_on(incoming.count()), 3);
    assert!(refused(addr));
}

/// Z1: a process that is frozen for longer than it would wait still finds the connections that were
/// queued.
#[test]
fn connections_queued_while_the_process_is_frozen_are_accepted() {
    let queue = Queue {
        may_grow: true,
        ..Queue::default()
    };
    let drain = Drain::new();
    let mut incoming = drain.accept(queue.clone());
    drain.begin();
    assert!(block_on(poll_once(incoming.next())).is_none(), "it closed");
    // Longer than a retired listener waits.
    thread::sleep(Duration::from_millis(600));
    let pairs = [(); 2].map(|()| Async::<UnixStream>::pair().expect("two descriptors"));
    let (_peers, conns): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    queue.queued.borrow_mut().extend(conns);
    for _ in 0..2 {
        assert!(block_on(incoming.next()).is_some_and(|accepted| accepted.is_ok()));
    }
    assert!(block_on(incoming.next()).is_none());
}

/// Z1: where a retired listener still queues connections, they do not keep it open for ever.
#[test]
fn endless_connects_do_not_keep_a_listener_open() {
    let pairs = stream::repeat_with(|| Async::<UnixStream>::pair().map(|(conn, _)| conn));
    let drain = Drain::new();
    let mut incoming = drain.accept(Connections::new(pairs));
    drain.begin();
    let begun = Instant::now();
    while block_on(incoming.next()).is_some() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it goes on");
    }
}

/// Z11: if the drain was drained before the first accept, the listener is closed, and nothing
/// waits.
#[test]
fn a_drained_drain_accepts_no_connections() {
    let drain = Drain::new();
    drain.begin();
    assert_eq!(drain.phase(), Phase::Drained);
    let (listener, addr) = listener();
    let mut incoming = drain.accept(listener);
    assert!(block_on(incoming.next()).is_none());
    assert!(refused(addr));
}

/// Z11: the drain does not wait for a dropped `Incoming`.
#[test]
fn dropping_incoming_closes_its_listener_and_frees_its_drain() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let incoming = drain.accept(listener);
    drain.begin();
    assert_eq!(drain.phase(), Phase::Draining);
    drop(incoming);
    assert_eq!(drain.phase(), Phase::Drained);
    assert!(refused(addr));
}

/// Z10: a stream of connections that only fails is polled at growing intervals, and ends when
/// draining begins.
#[test]
fn a_listener_that_fails_for_ever_neither_spins_nor_ends() {
    // Once more at once, then 10, 20 and 40 ms apart; the next would come 80 ms later.
    asked_at_most(10, || Error::other("no connection today"));
}

/// Z1, Z10: if descriptors have run out, a Unix listener whose queue is empty doesn't hold the
/// drain; a connection in its queue is accepted when there are some, even if that takes longer than
/// a retired listener waits.
#[cfg(target_os = "linux")]
#[test]
fn a_unix_listener_without_descriptors_holds_the_drain_for_its_queue_alone() {
    const NAME: &str =
        "accept::a_unix_listener_without_descriptors_holds_the_drain_for_its_queue_alone";
    if std::env::var_os("WITHOUT_DESCRIPTORS").is_none() {
        // In a process that has no other use for descriptors.
        let output = Command::new("sh")
            .args(["-c", &format!("ulimit -n 40; exec \"$0\" --exact {NAME}")])
            .arg(std::env::current_exe().expect("a test program"))
            .env("WITHOUT_DESCRIPTORS", "1")
            .output();
        let output = output.expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        return;
    }
    for queued in [false, true] {
        let socket = Socket::new(if queued { "queued" } else { "empty" });
        let drain = Drain::new();
        let mut incoming = drain.accept(bind_unix(socket.path()).expect("a free path"));
        let peer = queued.then(|| UnixStream::connect(socket.path()).expect("room in the queue"));
        // The reactor's own are open by now.
        assert!(queued || block_on(poll_once(incoming.next())).is_none());
        let mut others: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        assert!(!others.is_empty());
        drain.begin();
        if queued {
            let long = Timer::after(Duration::from_secs(1));
            let ended = block_on(or(async { Some(incoming.next().await) }, async {
                long.await;
                None
            }));
            assert!(ended.is_none(), "the peer is lost");
            others.clear();
            let accepted = block_on(incoming.next()).expect("one in the queue");
            drop(accepted.expect("no error"));
        }
        let begun = Instant::now();
        let limit = Timer::after(Duration::from_secs(5));
        let next = or(async { incoming.next().await.is_none() }, async {
            limit.await;
            false
        });
        assert!(block_on(next), "it holds the drain");
        assert!(begun.elapsed() < Duration::from_secs(2));
        drop((others, peer));
    }
}

/// Z10: a listener whose accepts the system's policy refuses is asked eight times, and then at
/// growing intervals.
#[test]
fn a_listener_that_is_refused_for_ever_does_not_spin() {
    asked_at_most(30, || ErrorKind::PermissionDenied.into());
}

/// Checks that a stream of connections that fails for ever is polled no more often than that until
/// it has ended.
fn asked_at_most(limit: usize, error: impl Fn() -> Error + Send + 'static) {
    let drain = Drain::new();
    let (sender, failures) = channel();
    let failing = stream::repeat_with(move || {
        sender.send(()).expect("the test counts");
        Err::<Async<TcpStream>, _>(error())
    });
    let mut incoming = drain.accept(Connections::new(failing));
    let handle = drain.clone();
    let counter = thread::spawn(move || {
        let first = failures.iter().take(limit * 2 / 5).count();
        handle.begin();
        first + failures.iter().count()
    });
    assert!(block_on(incoming.next()).is_none());
    drop(incoming);
    let failed = counter.join().expect("no panic");
    assert!(failed <= limit, "asked {failed} times");
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Z1, Z10: a connection that is queued when descriptors have run out is accepted soon after one is
/// free, even if the back-off would last longer.
#[test]
fn a_long_back_off_does_not_outlast_the_emptying() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let _queued = TcpStream::connect(addr).expect("room in the queue");
    let handle = drain.clone();
    let begun = Rc::new(Cell::new(None));
    let now = Rc::clone(&begun);
    let mut calls = 0;
    let mut incoming = drain.accept(Connections::new(stream::repeat_with(move || {
        calls += 1;
        match calls {
            // At once, then 10 to 320 ms apart; the next would come 640 ms later.
            1..8 => Err(Error::from_raw_os_error(24)),
            8 => {
                handle.begin();
                now.set(Some(Instant::now()));
                Err(Error::from_raw_os_error(24))
            }
            9 => Ok(Async::new(listener.get_ref().accept()?.0)?),
            _ => Err(ErrorKind::ConnectionAborted.into()),
        }
    })));
    let accepted = block_on(incoming.next()).expect("the peer that was queued");
    drop(accepted.expect("no error"));
    let took = begun.get().expect("draining began").elapsed();
    assert!(took < Duration::from_millis(600), "{took:?}");
}

/// Fails for lack of descriptors while its one connection lives.
struct Scarce {
    conn: Option<Async<UnixStream>>,
    calls: Rc<Cell<usize>>,
}

impl Accept for Scarce {
    type Conn = Async<UnixStream>;

    fn poll_accept(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<(Self::Conn, Option<SocketAddr>)>>> {
        self.calls.set(self.calls.get() + 1);
        Poll::Ready(Some(match self.conn.take() {
            Some(conn) => Ok((conn, None)),
            None => Err(Error::from_raw_os_error(24)),
        }))
    }
}

/// An accept loop is not a handle of its drain: once the last handle is dropped, draining begins
/// and the loop ends. Until then it keeps the drain from being drained (Z5).
#[test]
fn an_accept_loop_does_not_keep_its_drain_running() {
    let drain = Drain::new();
    let observer = drain.observer();
    let (listener, addr) = listener();
    let queued = TcpStream::connect(addr).expect("room in the queue");
    let mut incoming = drain.accept(listener);
    drop(drain);
    assert_eq!(observer.phase(), Phase::Draining);
    let accepted = block_on(incoming.next()).expect("one in the queue");
    assert!(block_on(incoming.next()).is_none());
    assert_eq!(observer.phase(), Phase::Draining);
    drop((accepted, queued));
    assert_eq!(observer.phase(), Phase::Drained);
}

/// Z10: if a connection closes and so frees a descriptor, the accept loop tries again at once.
#[test]
fn a_connection_that_closes_ends_the_back_off() {
    let (_peer, conn) = Async::<UnixStream>::pair().expect("two descriptors");
    let calls = Rc::new(Cell::new(0));
    let scarce = Scarce {
        conn: Some(conn),
        calls: Rc::clone(&calls),
    };
    let drain = Drain::new();
    let mut incoming = drain.accept(scarce);
    let accepted = block_on(incoming.next()).expect("a connection");
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    // Often enough that the next back-off is long.
    while calls.get() < 8 {
        assert!(incoming.poll_next(&mut cx).is_pending());
        thread::sleep(Duration::from_millis(5));
    }
    let (before, called) = (woken.0.load(Ordering::SeqCst), calls.get());
    drop(accepted);
    assert_eq!(woken.0.load(Ordering::SeqCst), before + 1);
    assert!(incoming.poll_next(&mut cx).is_pending());
    assert!(calls.get() > called);
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
