//! A server and its client on one thread and on sockets in memory, for exact counts of what the
//! server takes for a request.
//!
//! The server is [`Server`], with all that it is made of, or hyper's own. The peer is hyper's
//! client, which is not counted.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use async_drain::{
    Drain,
    hyper::{Limits, Server},
    net::Connections,
};
use futures_lite::{AsyncRead, AsyncWrite, Stream};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    rt::{Executor, Read, ReadBufCursor, Write},
    server::conn::http1::Builder,
    service::service_fn,
};

/// How many requests are counted.
pub const TIMES: usize = 1000;

/// A server and its client.
#[derive(Debug)]
pub struct Pair {
    server: Tasks,
    client: Tasks,
    /// How many requests have been answered.
    answered: Rc<Cell<usize>>,
}

impl Pair {
    /// Returns a server with a drain, whose client sends `body`; a GET if that is empty.
    #[must_use]
    pub fn drained(limits: Limits, http2: bool, body: &'static [u8]) -> Self {
        Self::new(http2, body, |socket, tasks| {
            let spawner = tasks.clone();
            tasks.spawn(async move {
                let drain = Drain::new();
                let served = Server::local(&drain, move |task| spawner.spawn(task))
                    .limits(limits)
                    .serve(Connections::new(Once(Some(socket))), service_fn(answer))
                    .await;
                served.expect("a stream of connections");
            });
        })
    }

    /// Returns hyper's server of HTTP/1, without a drain and with the settings of [`Server`].
    #[must_use]
    pub fn bare() -> Self {
        Self::new(false, b"", |socket, tasks| {
            // Otherwise hyper reads on while it answers, for which it allocates a buffer.
            let served =
                (Builder::new().half_close(true)).serve_connection(socket, service_fn(answer));
            tasks.spawn(async { served.await.expect("a connection") });
        })
    }

    fn new(http2: bool, body: &'static [u8], serve: impl FnOnce(Socket, &Tasks)) -> Self {
        let (socket, peer) = Socket::pair();
        let (server, client) = (Tasks::default(), Tasks::default());
        serve(socket, &server);
        let answered = Rc::default();
        client.spawn(ask(peer, http2, body, client.clone(), Rc::clone(&answered)));
        Self {
            server,
            client,
            answered,
        }
    }

    /// Lets the client send as many requests as make buffers grow, and then [`TIMES`] more, for
    /// which `counted` is to [run](Tasks::run) the server.
    ///
    /// # Panics
    ///
    /// If the server doesn't answer.
    pub fn run(self, mut counted: impl FnMut(&Tasks)) {
        for round in 0.. {
            self.client.run();
            match self.answered.get() {
                answered if answered < TIMES => self.server.run(),
                answered if answered < 2 * TIMES => counted(&self.server),
                _ => break,
            }
            assert!(round < 100 * TIMES, "no answers");
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let hello = Bytes::from_static(b"hello\n");
    Ok(Response::new(Full::new(if body.is_empty() {
        hello
    } else {
        body
    })))
}

/// Places requests one after the other.
async fn ask(
    peer: Socket,
    http2: bool,
    body: &'static [u8],
    tasks: Tasks,
    answered: Rc<Cell<usize>>,
) {
    let empty = body.is_empty();
    let body = Full::new(Bytes::from_static(body));
    let request = move || {
        let method = if empty { "GET" } else { "POST" };
        let request = Request::builder().method(method);
        let request = request.uri("http://localhost/hello");
        let request = request.header("host", "localhost").body(body.clone());
        request.expect("a request")
    };
    macro_rules! ask {
        ($handshake:expr) => {{
            let (mut send, conn) = $handshake.await.expect("a connection");
            tasks.spawn(async { drop(conn.await) });
            for _ in 0..2 * TIMES {
                send.ready().await.expect("an open connection");
                let response = send.send_request(request()).await.expect("an answer");
                let answer = response.into_body().collect().await.expect("all of it");
                assert!(!answer.to_bytes().is_empty());
                answered.set(answered.get() + 1);
            }
        }};
    }
    if http2 {
        ask!(http2::handshake(tasks.clone(), peer));
    } else {
        ask!(http1::handshake(peer));
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// An executor of one thread.
#[derive(Clone, Default)]
pub struct Tasks(Rc<RefCell<Vec<(Option<Task>, Arc<Woken>)>>>);

#[derive(Debug)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.0.borrow_mut();
        // HTTP/2 spawns a task for each request.
        tasks.retain(|(task, woken)| task.is_some() || woken.0.load(Ordering::Relaxed));
        let task: Task = Box::pin(task);
        tasks.push((Some(task), Arc::new(Woken(AtomicBool::new(true)))));
    }

    /// Polls until no task is woken.
    pub fn run(&self) {
        let next = || {
            let mut tasks = self.0.borrow_mut();
            let woken = |(_, woken): &(_, Arc<Woken>)| woken.0.swap(false, Ordering::Relaxed);
            let (task, woken) = tasks.iter_mut().find(|task| woken(task))?;
            Some((task.take(), Arc::clone(woken)))
        };
        while let Some((task, woken)) = next() {
            let Some(mut task) = task else { continue };
            let waker = Waker::from(Arc::clone(&woken));
            if task
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
            {
                let mut tasks = self.0.borrow_mut();
                let place = tasks
                    .iter_mut()
                    .find(|(_, other)| Arc::ptr_eq(other, &woken));
                match place {
                    Some(place) => place.0 = Some(task),
                    None => tasks.push((Some(task), woken)),
                }
            }
        }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks", self.0.borrow().len())
    }
}

impl<T: Future<Output = ()> + 'static> Executor<T> for Tasks {
    fn execute(&self, task: T) {
        self.spawn(task);
    }
}

/// A stream of one connection, which is never at its end.
struct Once(Option<Socket>);

impl Stream for Once {
    type Item = io::Result<Socket>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.take() {
            Some(socket) => Poll::Ready(Some(Ok(socket))),
            None => Poll::Pending,
        }
    }
}

/// One end of a connection in memory.
struct Socket {
    read: Arc<Mutex<Pipe>>,
    write: Arc<Mutex<Pipe>>,
}

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    reader: Option<Waker>,
}

impl Socket {
    fn pair() -> (Self, Self) {
        let [here, there] = [Arc::<Mutex<Pipe>>::default(), Arc::default()];
        let peer = Self {
            read: Arc::clone(&there),
            write: Arc::clone(&here),
        };
        (
            Self {
                read: here,
                write: there,
            },
            peer,
        )
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if pipe.bytes.is_empty() {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(io::Read::read(&mut pipe.bytes, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.bytes.extend(buf);
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        let room = buf.remaining().min(bytes.len());
        AsyncRead::poll_read(self, cx, &mut bytes[..room])
            .map_ok(|size| buf.put_slice(&bytes[..size]))
    }
}

impl Write for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_close(self, cx)
    }
}
