//! How HTTP/2 connections end, and what counts as their work.

use std::{
    convert::Infallible,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use async_drain::{Drain, hyper::Server};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use rustix::process::Signal;
use smol::Async;
use socket2::{Domain, Socket, Type};
use testkit::{
    frames::{Frame, Session},
    h2::{Answer, H2Conn},
    subject::{drained, end, hyper, overtaken},
};

/// Longer than the five seconds that a peer has to react to a GOAWAY.
const LONG: Duration = Duration::from_secs(6);

/// A connection whose flow control the test drives.
struct Peer {
    socket: TcpStream,
    session: Session,
}

impl Peer {
    fn open(addr: SocketAddr, session: Session) -> Self {
        Self::new(
            TcpStream::connect(addr).expect("the server listens"),
            session,
        )
    }

    /// Connects without flow control of HTTP/2; the kernel buffers about 64 KB.
    fn open_small(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
        socket.set_recv_buffer_size(32 * 1024).expect("a socket");
        socket.connect(&addr.into()).expect("a listener");
        Self::new(socket.into(), Session::new())
    }

    fn new(socket: TcpStream, session: Session) -> Self {
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a socket");
        Self { socket, session }
    }

    fn flush(&mut self) {
        let bytes = self.session.take_output();
        self.socket.write_all(&bytes).expect("an open connection");
    }

    /// Returns the next frame, or `None` at the end.
    fn read(&mut self) -> Option<Frame> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(frame) = self.session.next_frame().expect("a frame") {
                // Acknowledges the settings.
                let _ = self.socket.write_all(&self.session.take_output());
                return Some(frame);
            }
            match self.socket.read(&mut buffer).expect("no reset") {
                0 => return None,
                size => self.session.fill(&buffer[..size]),
            }
        }
    }

    fn read_until(&mut self, wanted: impl Fn(&Frame) -> bool) {
        while !wanted(&self.read().expect("an open connection")) {}
    }

    /// Reads the first GOAWAY, and answers the PING behind it.
    fn told(&mut self) {
        self.read_until(|frame| matches!(frame, Frame::GoAway { .. }));
        self.read_until(|frame| matches!(frame, Frame::Ping { ack: false, .. }));
    }
}

fn is_headers(frame: &Frame) -> bool {
    matches!(frame, Frame::Headers { .. })
}

/// Z5, S8: an answer whose body is one frame is in flight until the frame is written, although
/// hyper dropped the body when h2 had buffered it.
#[test]
fn an_answer_of_one_frame_is_work_until_it_is_written() {
    for length in [100_000, 20] {
        let mut server = hyper(&[("GRACE_MS", "500")]);
        let mut peer = Peer::open(server.addr(), Session::with_window(10));
        let path = format!("/full/{length}");
        peer.session.request("GET", &path, true);
        peer.flush();
        peer.read_until(|frame| matches!(frame, Frame::Data { .. }));
        server.signal(Signal::TERM).expect("a live process");
        peer.told();
        let exit = end(&mut server);
        assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
        let named = format!("still in flight: GET {path},");
        assert!(exit.stderr.contains(&named), "{}", exit.stderr);
    }
}

/// Z5: the same answer arrives whole if its reader takes longer than a peer has to react.
#[test]
fn a_slow_reader_of_one_frame_gets_all_of_it() {
    let mut server = hyper(&[("GRACE_MS", "20000")]);
    let mut peer = Peer::open(server.addr(), Session::with_window(10));
    let stream = peer.session.request("GET", "/full/1000", true);
    peer.flush();
    let mut got = 0;
    let mut signalled = false;
    loop {
        if let Frame::Data { bytes, end, .. } = peer.read().expect("an open connection") {
            got += bytes.len();
            if end {
                break;
            }
            if !signalled {
                server.signal(Signal::TERM).expect("a live process");
                peer.told();
                thread::sleep(LONG);
                signalled = true;
            }
            peer.session.widen(stream, 990);
            peer.flush();
        }
    }
    assert_eq!(got, 1000);
    drained(&mut server);
}

/// Z5, Z8: so does one whose flow control lets all of it into the kernel, before the GOAWAY: what
/// the peer acknowledges shows that it is there.
#[test]
fn a_reader_whose_kernel_acknowledges_slowly_gets_all_of_it() {
    const LENGTH: usize = 1_500_000;
    const PIECES: u32 = 25;
    let mut server = hyper(&[("GRACE_MS", "25000")]);
    let mut peer = Peer::open_small(server.addr());
    peer.session
        .request("GET", &format!("/full/{LENGTH}"), true);
    peer.flush();
    peer.read_until(|frame| matches!(frame, Frame::Data { .. }));
    server.signal(Signal::TERM).expect("a live process");
    let mut piece = vec![0; LENGTH / PIECES as usize];
    for _ in 0..PIECES - 1 {
        thread::sleep(LONG / PIECES);
        peer.socket.read_exact(&mut piece).expect("all of it");
        peer.session.fill(&piece);
    }
    peer.read_until(|frame| matches!(frame, Frame::Data { end: true, .. }));
    while peer.read().is_some() {}
    let exit = drained(&mut server);
    assert!(exit.elapsed >= LONG / 2, "{:?}", exit.elapsed);
}

/// S8: of such a reader that stops reading, what it lacks is reported.
#[test]
fn an_answer_that_stays_in_the_kernel_is_abandoned() {
    let mut server = hyper(&[("GRACE_MS", "25000")]);
    let mut peer = Peer::open_small(server.addr());
    peer.session.request("GET", "/full/1500000", true);
    peer.flush();
    peer.read_until(|frame| matches!(frame, Frame::Data { .. }));
    server.signal(Signal::TERM).expect("a live process");
    let exit = end(&mut server);
    assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
    assert!(exit.stderr.contains("/full/1500000"), "{}", exit.stderr);
}

/// Z6: a tunnel in a stream lives through a lame duck that is longer than a peer has to react.
#[test]
fn a_tunnel_is_not_cut_in_lame_duck() {
    let mut server = hyper(&[("LAME_DUCK_MS", "8000"), ("GRACE_MS", "20000")]);
    let mut peer = Peer::open(server.addr(), Session::new());
    let stream = peer.session.connect("test:1");
    peer.flush();
    peer.read_until(is_headers);
    server.signal(Signal::TERM).expect("a live process");
    peer.told();
    thread::sleep(LONG);
    peer.session.data(stream, b"still here", false);
    peer.flush();
    peer.read_until(
        |frame| matches!(frame, Frame::Data { bytes, .. } if bytes.ends_with(b"still here")),
    );
    peer.read_until(
        |frame| matches!(frame, Frame::Data { bytes, .. } if bytes.starts_with(b"bye")),
    );
    while peer.read().is_some() {}
    drained(&mut server);
}

/// Z5 Z6: so does one whose peer sends nothing at all, and it is told when draining begins.
#[test]
fn a_tunnel_is_not_cut_while_its_peer_sends_nothing() {
    let mut server = hyper(&[("LAME_DUCK_MS", "8000"), ("GRACE_MS", "20000")]);
    let mut peer = Peer::open(server.addr(), Session::new());
    peer.session.connect("test:1");
    peer.flush();
    peer.read_until(is_headers);
    // Reading acknowledges: not even the PING behind the first GOAWAY is answered.
    server.signal(Signal::TERM).expect("a live process");
    thread::sleep(LONG);
    peer.read_until(
        |frame| matches!(frame, Frame::Data { bytes, .. } if bytes.starts_with(b"bye")),
    );
    while peer.read().is_some() {}
    drained(&mut server);
}

/// Z5: an upload that was answered early is read to its end, after a pause that is longer than a
/// peer has to react.
#[test]
fn an_upload_that_was_answered_early_is_not_cut() {
    let mut server = hyper(&[("GRACE_MS", "20000")]);
    let mut peer = Peer::open(server.addr(), Session::new());
    let stream = peer.session.request("POST", "/accepted", false);
    peer.session.data(stream, b"first", false);
    peer.flush();
    peer.read_until(is_headers);
    server.signal(Signal::TERM).expect("a live process");
    peer.told();
    thread::sleep(LONG);
    peer.session.data(stream, b"last", true);
    peer.flush();
    while peer.read().is_some() {}
    let exit = drained(&mut server);
    assert!(exit.elapsed >= LONG, "{:?}", exit.elapsed);
}

/// Z5, S8: acknowledgements that a peer doesn't read are not work: a peer that does not react is
/// cut, and the report does not name it.
#[test]
fn a_flood_of_pings_is_not_work() {
    let mut server = hyper(&[("GRACE_MS", "30000")]);
    let mut peer = Peer::open(server.addr(), Session::new());
    peer.session.request("GET", "/", true);
    peer.flush();
    peer.read_until(|frame| matches!(frame, Frame::Data { end: true, .. }));
    let timeout = Some(Duration::from_millis(500));
    peer.socket.set_write_timeout(timeout).expect("a socket");
    for _ in 0..1000 {
        peer.session.ping([7; 8]);
    }
    let pings = peer.session.take_output();
    loop {
        match peer.socket.write_all(&pings) {
            Ok(()) => {}
            // The server stops reading, since it can't write.
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    server.signal(Signal::TERM).expect("a live process");
    let exit = drained(&mut server);
    assert!(exit.report.contains("none abandoned"), "{}", exit.stderr);
}

/// Z11: a panic in the call itself, before there is a future, ends only its own stream.
#[test]
fn a_panic_in_the_call_ends_its_own_stream() {
    let drain = Drain::new();
    let listener = Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    let (release, released) = smol::channel::bounded::<()>(1);
    let service = service_fn(move |request: Request<Incoming>| {
        assert!(request.uri().path() != "/panic", "asked to panic");
        let released = released.clone();
        async move {
            let _ = released.recv().await;
            Ok::<_, Infallible>(Response::new("hello\n".to_owned()))
        }
    });
    let serving = Server::new(&drain, |task| smol::spawn(task).detach()).serve(listener, service);
    let serving = smol::spawn(serving);
    let mut conn = H2Conn::open(addr).expect("the server listens");
    let good = conn.get("/").expect("an open connection");
    let bad = conn.get("/panic").expect("an open connection");
    assert!(matches!(
        conn.read_answer(bad).expect("an end of the stream"),
        Answer::Reset { .. }
    ));
    release.send_blocking(()).expect("the handler waits");
    assert!(matches!(
        conn.read_answer(good).expect("an end of the stream"),
        Answer::Complete { status: 200, .. }
    ));
    drain.begin();
    conn.read_to_end().expect("no reset");
    smol::block_on(serving).expect("no failure");
    drain.until_drained().wait();
}

/// Z4: a head of HTTP/2 that is not complete is a request that has begun, on a fresh connection and
/// behind an answer: the peer has more time than to react to a GOAWAY.
#[test]
fn half_a_head_may_be_completed_over_http2() {
    let mut server = hyper(&[("GRACE_MS", "15000"), ("FIRST_REQUEST_GRACE_MS", "0")]);
    let open = || H2Conn::open(server.addr()).expect("the server listens");
    let mut conns = [open(), open()];
    let stream = conns[1].get("/").expect("an open connection");
    conns[1].read_answer(stream).expect("an end of the stream");
    let streams = conns
        .each_mut()
        .map(|conn| conn.begin_head("/").expect("an open connection"));
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    thread::sleep(LONG);
    for (conn, stream) in conns.iter_mut().zip(streams) {
        conn.end_head(stream).expect("an open connection");
        let answer = conn.read_answer(stream).expect("an end of the stream");
        assert!(
            matches!(answer, Answer::Complete { status: 200, .. }),
            "{answer:?}"
        );
    }
    drained(&mut server);
}
