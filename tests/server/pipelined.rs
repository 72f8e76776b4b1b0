//! Requests that are sent before the answer to the one before.

use crate::support::subject::{
    TIMEOUT, at_once, connect, drained, hyper, overtaken, refused, two_of_three,
};
use rustix::process::Signal;

const TWO: &[u8] =
    b"GET /sleep/500 HTTP/1.1\r\nhost: test\r\n\r\nGET / HTTP/1.1\r\nhost: test\r\n\r\n";

/// Z3: the answer that says `Connection: close` is the last one. It arrives, and the connection
/// ends without a reset that might overtake it; so the client knows that it may send the second
/// request elsewhere.
#[test]
fn nothing_is_done_after_an_answer_that_says_close() {
    let mut server = hyper(&[]);
    let mut conn = connect(&server);
    conn.send(TWO).expect("an open connection");
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(
        (answer.head.status, answer.body),
        (200, b"slept\n".to_vec())
    );
    assert!(answer.head.closes(), "{:?}", answer.head);
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
    drained(&mut server);
}

/// Z2, Z9: a client that was not told to leave is answered once more, even if its connection was
/// never idle.
#[test]
fn a_request_behind_an_answer_that_did_not_say_close_is_answered() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let mut conn = connect(&server);
    conn.get("/stream/5/100").expect("an open connection");
    conn.get("/").expect("an open connection");
    conn.get("/").expect("an open connection");
    assert!(!conn.read_head().expect("a head").closes());
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    assert!(
        conn.read_body()
            .expect("the whole body")
            .ends_with(b"chunk 4\n")
    );
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(
        (answer.head.status, answer.body),
        (200, b"hello\n".to_vec())
    );
    assert!(answer.head.closes(), "{:?}", answer.head);
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
    drained(&mut server);
}

/// Z8, L2: a peer that has pipelined does not delay the exit once the body of its last request is
/// whole.
#[test]
fn a_peer_that_pipelined_before_it_uploaded_does_not_hold_the_exit() {
    const POST: &[u8] = b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nhello\n";
    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    two_of_three(at_once(), || {
        let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
        let mut conns = [
            &[&[GET, POST].concat()[..]][..],
            &[&[GET, GET].concat(), POST],
        ]
        .map(|reads| {
            let mut conn = connect(&server);
            for (bytes, answers) in reads.iter().zip([2, 1]) {
                conn.send(bytes).expect("an open connection");
                for _ in 0..answers {
                    conn.read_response().expect("a whole answer");
                }
            }
            conn
        });
        overtaken(&server);
        server.signal(Signal::TERM).expect("a live process");
        let exit = drained(&mut server);
        for conn in &mut conns {
            assert!(conn.is_eof(TIMEOUT).expect("no reset"));
        }
        exit.elapsed
    });
}
