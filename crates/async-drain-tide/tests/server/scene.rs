//! A connection whose driver runs on the test's own thread.

use std::{
    cell::Cell,
    future::Future,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    rc::Rc,
    thread,
};

use async_drain::Drain;
use async_drain_tide::Driver;
use futures_lite::{StreamExt, future::block_on};
use http_types::{Request, Response};
use smol::{Async, LocalExecutor};

/// A connection on an executor that the test polls, and the peer's end of it.
pub(crate) struct Scene {
    // Declared first, and so dropped before the peer.
    pub(crate) executor: LocalExecutor<'static>,
    peer: TcpStream,
    /// How often the endpoint has been called.
    called: Rc<Cell<usize>>,
}

impl Scene {
    pub(crate) fn open<F, Fut>(drain: &Drain, endpoint: F) -> Self
    where
        F: Fn(Request) -> Fut + 'static,
        Fut: Future<Output = http_types::Result<Response>> + 'static,
    {
        Self::of(drain, &Driver::new(drain), endpoint)
    }

    pub(crate) fn of<F, Fut>(drain: &Drain, driver: &Driver, endpoint: F) -> Self
    where
        F: Fn(Request) -> Fut + 'static,
        Fut: Future<Output = http_types::Result<Response>> + 'static,
    {
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a listener");
        let addr = listener.get_ref().local_addr().expect("an address");
        let peer = TcpStream::connect(addr).expect("a connection");
        peer.set_nonblocking(true).expect("a socket");
        let mut incoming = drain.accept(listener);
        let connection = block_on(incoming.next());
        let connection = connection.expect("one").expect("a connection");
        let executor = LocalExecutor::new();
        let called = Rc::new(Cell::new(0));
        let count = Rc::clone(&called);
        let serving = driver.drive(connection, move |request| {
            count.set(count.get() + 1);
            endpoint(request)
        });
        executor.spawn(async { drop(serving.await) }).detach();
        Self {
            executor,
            peer,
            called,
        }
    }

    pub(crate) fn into_parts(self) -> (TcpStream, LocalExecutor<'static>) {
        self.peer.set_nonblocking(false).expect("a socket");
        (self.peer, self.executor)
    }

    pub(crate) fn send(&self, bytes: &str) {
        let mut peer = &self.peer;
        peer.write_all(bytes.as_bytes())
            .expect("an open connection");
    }

    /// Sends a request, and runs the server until its handler waits or has ended.
    pub(crate) fn request(&self, bytes: &str) {
        let called = self.called.get();
        self.send(bytes);
        while self.called.get() == called || self.executor.try_tick() {
            self.executor.try_tick();
            thread::yield_now();
        }
    }

    /// Reads an answer's head while the server runs.
    pub(crate) fn read_head(&self) -> String {
        self.read_until(|read| read.ends_with("\r\n\r\n"))
    }

    pub(crate) fn read_to_end(&self) -> String {
        self.read_until(|_| false)
    }

    fn read_until(&self, done: impl Fn(&str) -> bool) -> String {
        let mut read = String::new();
        while !done(&read) {
            self.executor.try_tick();
            let mut byte = [0];
            match (&self.peer).read(&mut byte) {
                Ok(0) => break,
                Ok(_) => read.push(char::from(byte[0])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        read
    }
}
