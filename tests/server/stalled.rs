//! hyper may read bytes and sleep over them, which nothing but another poll ends.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use async_drain::{Drain, hyper::Activity};
use futures_lite::{AsyncRead, AsyncWrite};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};

use crate::support::polling::{Wakes, poll};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const END: &[u8] = b"\r\n0\r\n\r\n";

/// A connection to a peer that sends something as soon as it has a whole answer, which is before
/// the write of the answer's end returns.
#[derive(Clone, Default)]
struct Peer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    arrived: Vec<u8>,
    reader: Option<Waker>,
    answers: Vec<u8>,
    /// What the peer sends when it has an answer.
    then: Vec<u8>,
    /// How many requests more a peer has that pipelines: it sends one for each read.
    pipelined: usize,
}

impl Peer {
    fn send(&self, bytes: &[u8]) {
        let mut state = self.0.lock().expect("no panic");
        state.arrived.extend(bytes);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    fn answers(&self) -> usize {
        let state = self.0.lock().expect("no panic");
        (state.answers.windows(END.len()))
            .filter(|bytes| *bytes == END)
            .count()
    }
}

impl AsyncRead for Peer {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().expect("no panic");
        if state.pipelined > 0 {
            state.pipelined -= 1;
            state.arrived.extend(GET.as_bytes());
        }
        let length = state.arrived.len().min(buf.len());
        if length == 0 {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf[..length].copy_from_slice(&state.arrived[..length]);
        state.arrived.drain(..length);
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock().expect("no panic");
        state.answers.extend(buf);
        if state.answers.ends_with(END) {
            let then = std::mem::take(&mut state.then);
            drop(state);
            self.send(&then);
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

/// A body that is not ready when hyper first asks for it, and is a moment later, in the same poll.
struct Late(u8);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0 += 1;
        match self.0 {
            // It is ready before it could wake the task, as a timer may be.
            1 => Poll::Pending,
            2 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"late"))))),
            _ => Poll::Ready(None),
        }
    }
}

/// Z2 Z9: what arrives with the end of an answer is read as a request, be it all of one, a part, or
/// an empty line; and so is a request that was there before.
#[test]
fn a_request_that_comes_with_the_end_of_an_answer_is_answered() {
    let (half, rest) = GET.split_at(10);
    let pipelined = format!("{GET}{GET}");
    // What the peer sends first, with the end of the answer, and after that.
    let courses = [
        (GET, GET, ""),
        (GET, half, rest),
        (GET, "\r\n", GET),
        (&pipelined, "", ""),
    ];
    let answers = courses.map(|(first, then, later)| {
        let drain = Drain::new();
        let peer = Peer::default();
        peer.0.lock().expect("no panic").then = then.into();
        peer.send(first.as_bytes());
        let activity = Activity::new(&drain);
        let service =
            service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Late(0))));
        let conn = http1::Builder::new()
            .half_close(true)
            .serve_connection(activity.io(peer.clone()), activity.service(service));
        let mut conn = pin!(drain.watch(conn).activity(activity));
        let (woken, waker) = Wakes::new();
        // The connection is polled when it has been woken, as by an executor.
        let mut seen = None;
        let mut run = || {
            while seen != Some(woken.count()) {
                seen = Some(woken.count());
                assert!(poll(conn.as_mut(), &waker).is_pending());
            }
        };
        run();
        peer.send(later.as_bytes());
        run();
        peer.answers()
    });
    assert_eq!(answers, [2; 4]);
}

/// L3: a peer that pipelines without end lets other tasks run, such as the shutdown, and is cut
/// when aborting begins.
#[test]
fn a_peer_that_pipelines_without_end_lets_others_run() {
    let drain = Drain::new();
    let peer = Peer::default();
    peer.0.lock().expect("no panic").pipelined = 1_000;
    let activity = Activity::new(&drain);
    let service = service_fn(async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(String::from("hello")))
    });
    let conn = http1::Builder::new()
        .serve_connection(activity.io(peer.clone()), activity.service(service));
    let mut conn = pin!(drain.watch(conn).activity(activity));
    let (woken, waker) = Wakes::new();
    for polls in 1..=3 {
        assert!(poll(conn.as_mut(), &waker).is_pending());
        assert!(woken.count() >= polls, "it goes on");
    }
    let left = peer.0.lock().expect("no panic").pipelined;
    assert!(left > 500, "the polls go on for long: {left}");
    drain.abort();
    assert!(poll(conn.as_mut(), &waker).is_ready());
}
