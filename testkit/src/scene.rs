//! The same small scene for every executor: a request is in flight when the drain begins.

use std::{
    convert::Infallible,
    future::Future,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

use async_drain::Drain;
use futures_lite::{Stream, StreamExt, stream};
use http_body_util::StreamBody;
use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming},
};
use smol::{Async, Timer};

const PAUSE: Duration = Duration::from_millis(20);

/// A client whose request is in flight when the drain begins, for a test of one executor.
pub struct Scene {
    pub drain: Drain,
    addr: SocketAddr,
    client: JoinHandle<io::Result<String>>,
}

impl Scene {
    /// Creates a scene and the listener for its server. The client sends its request at once.
    pub fn new() -> (Self, Async<TcpListener>) {
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
        let addr = listener.get_ref().local_addr().expect("a bound listener");
        let client = thread::spawn(move || {
            let mut conn = TcpStream::connect(addr)?;
            conn.set_read_timeout(Some(Duration::from_secs(20)))?;
            conn.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")?;
            let mut answer = String::new();
            // Until the server closes.
            conn.read_to_string(&mut answer)?;
            Ok(answer)
        });
        let scene = Self {
            drain: Drain::new(),
            addr,
            client,
        };
        (scene, listener)
    }

    /// Runs `server` until its drain has ended, and checks what the client and the next peer get.
    pub async fn play(self, server: impl Future<Output = io::Result<()>>) {
        server.await.expect("the listener is fine");
        let report = self.drain.finish_within(Duration::from_secs(20)).await;
        assert!(report.is_drained(), "{report}");
        let refused = TcpStream::connect(self.addr).expect_err("the listener is closed");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

        let answer = self.client.join().expect("it does not panic");
        let answer = answer.expect("a whole answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.contains("chunk 4\n"), "{answer}");
        assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    }
}

/// Begins the drain, and only then answers, chunk by chunk.
pub async fn handler(
    _: Request<Incoming>,
    drain: Drain,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, Infallible> {
    drain.begin();
    Timer::after(PAUSE).await;
    Ok(Response::new(StreamBody::new(chunks())))
}

fn chunks() -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
    stream::iter(0..5).then(|n| async move {
        Timer::after(PAUSE).await;
        Ok(Frame::data(format!("chunk {n}\n").into()))
    })
}
