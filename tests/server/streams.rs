//! Endless answers, and HTTP/2 streams on either side of the GOAWAYs.

use crate::support::frames::{Frame, NO_LIMIT};
use crate::support::h2::{Answer, H2Conn};
use crate::support::subject::{
    a_tenth_around, connect, drained, end, hyper, refused, two_of_three,
};
use rustix::process::Signal;
use std::time::Duration;

/// Returns the milliseconds of the last event.
fn left(events: &[u8]) -> u64 {
    let events = String::from_utf8_lossy(events);
    let (_, data) = events
        .split_once("event: leaving\ndata: ")
        .unwrap_or_else(|| panic!("no last event in {events:?}"));
    let millis = data.strip_suffix("\n\n").and_then(|data| data.parse().ok());
    millis.unwrap_or_else(|| panic!("no number of milliseconds in {events:?}"))
}

/// Z7: when draining begins, an endless stream of events says how long it may be read, and ends.
#[test]
fn events_end_when_draining_begins_and_tell_the_deadline() {
    let mut server = hyper(&[("GRACE_MS", "60000"), ("KEEP_ALIVE_GRACE_MS", "0")]);
    let mut conn = connect(&server);
    // A stream that waits long for its next event is told at once all the same.
    let mut lazy = connect(&server);
    lazy.get("/events/3600000").expect("an open connection");
    lazy.read_head().expect("a head");
    conn.get("/events/10").expect("an open connection");
    conn.read_head().expect("a head");
    conn.next_chunk()
        .expect("an open connection")
        .expect("an event");
    server.signal(Signal::TERM).expect("a live process");
    for conn in [&mut conn, &mut lazy] {
        let left = left(&conn.read_body().expect("the whole body"));
        assert!((50_000..=60_000).contains(&left), "{left} ms");
    }
    let exit = drained(&mut server);
    assert!(exit.elapsed < Duration::from_secs(5), "{:?}", exit.elapsed);
}

/// Z7: so does a stream over HTTP/2.
#[test]
fn http2_events_end_when_draining_begins() {
    let mut server = hyper(&[("GRACE_MS", "60000")]);
    let mut conn = H2Conn::open(server.addr()).expect("the server listens");
    let stream = conn.get("/events/10").expect("an open connection");
    conn.find("an event", |frame| {
        matches!(frame, Frame::Data { .. }).then_some(())
    })
    .expect("an open connection");
    server.signal(Signal::TERM).expect("a live process");
    match conn.read_answer(stream).expect("an end of the stream") {
        Answer::Complete { body, .. } => assert!((50_000..=60_000).contains(&left(&body))),
        other => panic!("{other:?}"),
    }
    conn.read_to_end().expect("no reset");
    drained(&mut server);
}

/// Z7, Z12: a stream that ignores draining is cut when the grace period ends, not before, and the
/// report names it.
#[test]
fn an_infinite_stream_is_cut_with_the_grace_period() {
    let path = "/stream/1000000000/20";
    let grace = Duration::from_secs(1);
    two_of_three(a_tenth_around(grace), || {
        let mut server = hyper(&[("GRACE_MS", "1000")]);
        let mut conn = connect(&server);
        conn.get(path).expect("an open connection");
        conn.read_head().expect("a head");
        let mut h2 = H2Conn::open(server.addr()).expect("the server listens");
        let stream = h2.get(path).expect("an open connection");
        h2.find("a head", |frame| {
            matches!(frame, Frame::Headers { .. }).then_some(())
        })
        .expect("an open connection");
        server.signal(Signal::TERM).expect("a live process");
        conn.read_body().expect_err("a stream without end");
        h2.read_answer(stream).expect_err("a stream without end");
        let exit = end(&mut server);
        assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
        assert!(exit.report.contains("2 abandoned"), "{}", exit.stderr);
        assert!(
            exit.stderr.contains(&format!("GET {path}, for")),
            "{}",
            exit.stderr
        );
        exit.elapsed
    });
}

/// Z3: there are two GOAWAYs. The server answers a stream that the client opens between them. A
/// later stream is above the last stream of the second, so that it may be retried elsewhere.
#[test]
fn a_stream_between_the_goaways_is_served_and_a_later_one_may_be_retried() {
    let mut server = hyper(&[]);
    let mut conn = H2Conn::open(server.addr()).expect("the server listens");
    let busy = conn.get("/stream/10/100").expect("an open connection");
    conn.find("a head", |frame| {
        matches!(frame, Frame::Headers { .. }).then_some(())
    })
    .expect("an open connection");
    server.signal(Signal::TERM).expect("a live process");
    // The first GOAWAY refuses nothing yet. The client answers its PING together with the request.
    assert_eq!(conn.read_goaway().expect("a first"), (NO_LIMIT, 0));
    refused(server.addr());
    let between = conn.get("/").expect("an open connection");
    let body = b"hello\n".to_vec();
    assert_eq!(
        conn.read_answer(between).expect("an end of the stream"),
        Answer::Complete { status: 200, body }
    );
    assert_eq!(conn.read_goaway().expect("a second"), (between, 0));
    let late = conn.get("/").expect("an open connection");
    match conn.read_answer(busy).expect("an end of the stream") {
        Answer::Complete { body, .. } => assert!(body.ends_with(b"chunk 9\n")),
        other => panic!("{other:?}"),
    }
    let frames = conn.read_to_end().expect("no reset");
    let answers = |frame: &Frame| matches!(frame, Frame::Headers { stream, .. } if *stream == late);
    assert!(!frames.iter().any(answers), "{frames:?}");
    drained(&mut server);
}
