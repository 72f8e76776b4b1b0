//! Work that is in flight when the process is told to stop.

use crate::support::client::Conn;
use crate::support::h2::{Answer, H2Conn};
use crate::support::process::{Exit, Server};
use crate::support::subject::{
    TIMEOUT, a_tenth_around, after_the_last_byte, ask, connect, drained, end, hyper, idle,
    overtaken, refused, two_of_three,
};
use rustix::process::Signal;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Sends a slow request over HTTP/2, and returns once the server has begun it.
fn ask_h2(server: &Server, path: &str) -> (H2Conn, u32) {
    let mut conn = H2Conn::open(server.addr()).expect("the server listens");
    let stream = conn.get(path).expect("an open connection");
    read_by_server(&mut conn);
    // So the server counts it.
    overtaken(server);
    (conn, stream)
}

/// Returns once the server has read all frames that were sent.
fn read_by_server(conn: &mut H2Conn) {
    use crate::support::frames::Frame;
    conn.ping(*b"all read").expect("an open connection");
    conn.find("the acknowledgement of a ping", |frame| match frame {
        Frame::Ping { ack: true, .. } => Some(()),
        _ => None,
    })
    .expect("an open connection");
}

fn complete(body: &[u8]) -> Answer {
    Answer::Complete {
        status: 200,
        body: body.to_vec(),
    }
}

fn answered(conn: &mut Conn, body: &[u8]) {
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!((answer.head.status, answer.body.as_slice()), (200, body));
}

/// Z5, L2: a request that has begun is answered whole, and the process ends with it, woken by that
/// event.
#[test]
fn a_request_of_3_s_is_answered_and_the_process_ends_with_it() {
    two_of_three(after_the_last_byte(), || {
        let mut server = hyper(&[("GRACE_MS", "10000")]);
        let mut conn = ask(&server, "/sleep/3000");
        server.signal(Signal::INT).expect("a live process");
        answered(&mut conn, b"slept\n");
        let last_byte = Instant::now();
        ended_with_work(&mut server)
            .at
            .saturating_duration_since(last_byte)
    });
}

/// The same over HTTP/2.
#[test]
fn an_http2_request_of_3_s_is_answered_and_the_process_ends_with_it() {
    two_of_three(after_the_last_byte(), || {
        let mut server = hyper(&[("GRACE_MS", "10000")]);
        let (mut conn, stream) = ask_h2(&server, "/sleep/3000");
        server.signal(Signal::INT).expect("a live process");
        let answer = conn.read_answer(stream).expect("an end of the stream");
        assert_eq!(answer, complete(b"slept\n"));
        let last_byte = Instant::now();
        ended_with_work(&mut server)
            .at
            .saturating_duration_since(last_byte)
    });
}

const SECOND: Duration = Duration::from_secs(1);

fn ended_with_work(server: &mut Server) -> Exit {
    let exit = drained(server);
    // The end of an answer that was just read may be in flight as well.
    assert!(
        !exit.report.contains("drained: 0 in flight"),
        "{}",
        exit.stderr
    );
    assert!(exit.report.contains("none abandoned"), "{}", exit.stderr);
    exit
}

/// L3, Z12: a request that outlasts the grace period is cut when it ends, and the report names it.
#[test]
fn a_request_that_outlasts_the_grace_period_is_cut_and_named() {
    two_of_three(a_tenth_around(SECOND), || {
        let mut server = hyper(&[("GRACE_MS", "1000")]);
        let mut conn = ask(&server, "/sleep/3000");
        server.signal(Signal::INT).expect("a live process");
        conn.read_head().expect_err("the connection was cut");
        cut_by_grace(&mut server)
    });
}

/// The same over HTTP/2.
#[test]
fn an_http2_request_that_outlasts_the_grace_period_is_cut_and_named() {
    two_of_three(a_tenth_around(SECOND), || {
        let mut server = hyper(&[("GRACE_MS", "1000")]);
        let (mut conn, stream) = ask_h2(&server, "/sleep/3000");
        server.signal(Signal::INT).expect("a live process");
        conn.read_answer(stream)
            .expect_err("the connection was cut");
        cut_by_grace(&mut server)
    });
}

fn cut_by_grace(server: &mut Server) -> Duration {
    let exit = end(server);
    assert_eq!(exit.status.code(), Some(1), "{}", exit.stderr);
    assert!(
        exit.stderr
            .contains("still in flight: GET /sleep/3000, for "),
        "{}",
        exit.stderr
    );
    assert!(
        exit.report.starts_with("aborted: ") && exit.report.contains(", 1 abandoned; draining "),
        "{}",
        exit.stderr
    );
    exit.elapsed
}

/// Z5: curl, a client from elsewhere, gets its answers.
#[test]
fn curl_gets_its_answers() {
    let mut server = hyper(&[]);
    let curls = ["--http1.1", "--http2-prior-knowledge"].map(|version| {
        Command::new("curl")
            .args(["-sS", version, "-w", "%{http_code}"])
            .arg(format!("http://{}/stream/3/300", server.addr()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("curl is installed")
    });
    // Each client has sent its request when its first chunk has arrived; both connect first.
    let first = curls.map(|mut curl| {
        use std::io::Read;
        let mut first = [0; 8];
        let stdout = curl.stdout.as_mut().expect("a pipe");
        stdout.read_exact(&mut first).expect("a first chunk");
        assert_eq!(&first, b"chunk 0\n");
        curl
    });
    server.signal(Signal::TERM).expect("a live process");
    for curl in first {
        let output = curl.wait_with_output().expect("curl ends");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "chunk 1\nchunk 2\n200"
        );
    }
    drained(&mut server);
}

/// Z5: a stream that has begun arrives whole over both protocols.
#[test]
fn a_stream_of_1500_ms_arrives_whole() {
    let mut server = hyper(&[]);
    let whole = (0..15).fold(String::new(), |whole, n| whole + &format!("chunk {n}\n"));
    let mut conn = connect(&server);
    conn.get("/stream/15/100").expect("an open connection");
    let (mut h2, stream) = ask_h2(&server, "/stream/15/100");
    assert_eq!(conn.read_head().expect("a head").status, 200);
    server.signal(Signal::TERM).expect("a live process");
    let body = conn.read_body().expect("the whole body");
    assert_eq!(String::from_utf8_lossy(&body), whole);
    drop(conn);
    let answer = h2.read_answer(stream).expect("an end of the stream");
    assert_eq!(answer, complete(whole.as_bytes()));
    drop(h2);
    ended_with_work(&mut server);
}

const SIZE: usize = 20_000_000;

/// Z5: bytes that the kernel has yet to send when the handler is done are sent.
#[test]
fn a_slow_reader_gets_its_20_mb() {
    let mut server = hyper(&[]);
    let mut conn = ask(&server, &format!("/bytes/{SIZE}"));
    conn.read_head().expect("a head");
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    let (mut size, mut pause) = (0, 0);
    while let Some(bytes) = conn.next_chunk().expect("an open connection") {
        size += bytes.len();
        if size / 1_000_000 > pause {
            pause += 1;
            thread::sleep(Duration::from_millis(40));
        }
    }
    assert_eq!(size, SIZE);
    drop(conn);
    ended_with_work(&mut server);
}

/// Z5: so are they over HTTP/2, where the handler and the writer are different tasks.
#[test]
fn a_slow_http2_reader_gets_its_20_mb() {
    use crate::support::frames::Frame;
    let mut server = hyper(&[]);
    let (mut conn, stream) = ask_h2(&server, &format!("/bytes/{SIZE}"));
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    let (mut size, mut pause) = (0, 0);
    loop {
        let data = conn.find("more of the body", |frame| match frame {
            Frame::Data { bytes, end, .. } => Some((bytes.len(), *end)),
            _ => None,
        });
        let (length, end) = data.expect("an open connection");
        size += length;
        if size / 1_000_000 > pause {
            pause += 1;
            thread::sleep(Duration::from_millis(40));
        }
        if end {
            break;
        }
    }
    assert_eq!(size, SIZE, "on stream {stream}");
    drop(conn);
    ended_with_work(&mut server);
}

/// Z11: a handler that panics while draining ends only its own connection.
#[test]
fn a_panic_in_flight_harms_no_other_connection() {
    let mut server = hyper(&[]);
    let mut victim = idle(&server);
    let mut other = ask(&server, "/sleep/1000");
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    victim.get("/panic").expect("the keep-alive grace");
    assert!(victim.is_eof(TIMEOUT).expect("no reset"));
    answered(&mut other, b"slept\n");
    let exit = drained(&mut server);
    assert!(exit.stderr.contains("asked to panic"), "{}", exit.stderr);
}

/// Z11 S8: over HTTP/2 it ends only its own stream, and its request is not abandoned.
#[test]
fn a_panic_on_an_http2_stream_harms_no_other_stream() {
    let mut server = hyper(&[]);
    let (mut conn, other) = ask_h2(&server, "/sleep/1000");
    server.signal(Signal::TERM).expect("a live process");
    // Between the two GOAWAYs.
    conn.read_goaway().expect("a first GOAWAY");
    let victim = conn.get("/panic").expect("an open connection");
    let end = conn.read_answer(victim).expect("an end of the stream");
    assert!(matches!(end, Answer::Reset { .. }), "{end:?}");
    let answer = conn.read_answer(other).expect("an end of the stream");
    assert_eq!(answer, complete(b"slept\n"));
    let exit = drained(&mut server);
    assert!(exit.stderr.contains("asked to panic"), "{}", exit.stderr);
    assert!(exit.report.contains("none abandoned"), "{}", exit.stderr);
}

/// Z11: a client that disconnects, with a reset or without, does not delay the exit for longer than
/// its handler runs.
#[test]
fn a_client_that_is_gone_holds_nothing_for_long() {
    let mut server = hyper(&[]);
    let polite = ask(&server, "/sleep/700");
    let mut rude = connect(&server);
    // Closing with an unread answer resets the connection.
    rude.get("/").expect("an open connection");
    rude.get("/sleep/700").expect("an open connection");
    let (h2, _) = ask_h2(&server, "/sleep/60000");
    overtaken(&server);
    let mut stays = ask(&server, "/sleep/700");
    drop((polite, rude, h2));
    server.signal(Signal::TERM).expect("a live process");
    answered(&mut stays, b"slept\n");
    let exit = drained(&mut server);
    let sleep = Duration::from_millis(700);
    assert!(exit.elapsed < sleep * 3, "it took {:?}", exit.elapsed);
}

/// Z11: a handler that begins the drain is answered.
#[test]
fn a_handler_may_begin_the_drain() {
    let mut server = hyper(&[]);
    let mut conn = connect(&server);
    conn.get("/begin").expect("an open connection");
    let answer = conn.read_response().expect("a whole answer");
    assert_eq!(
        (answer.head.status, answer.body),
        (200, b"begun\n".to_vec())
    );
    assert!(answer.head.closes(), "{:?}", answer.head);
    assert!(conn.is_eof(TIMEOUT).expect("no reset"));
    drained(&mut server);
}

/// The same over HTTP/2.
#[test]
fn an_http2_handler_may_begin_the_drain() {
    let mut server = hyper(&[]);
    let mut conn = H2Conn::open(server.addr()).expect("the server listens");
    let stream = conn.get("/begin").expect("an open connection");
    let answer = conn.read_answer(stream).expect("an end of the stream");
    assert_eq!(answer, complete(b"begun\n"));
    conn.read_to_end().expect("no reset");
    drained(&mut server);
}

/// Z5: an upload that is half sent when draining begins may be completed.
#[test]
fn an_upload_that_is_half_sent_may_be_finished() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let half = vec![b'u'; 150_000];
    let mut conn = connect(&server);
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
        2 * half.len()
    );
    conn.send(head.as_bytes()).expect("an open connection");
    conn.send(&half).expect("an open connection");
    assert_eq!(conn.read_head().expect("a head").status, 200);
    let mut size = 0;
    while size < half.len() {
        let bytes = conn.next_chunk().expect("an open connection");
        size += bytes.expect("more of the body").len();
    }

    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    conn.send(&half).expect("an open connection");
    size += conn.read_body().expect("the whole body").len();
    assert_eq!(size, 2 * half.len());
    ended_with_work(&mut server);
}

/// Z5: so may an upload that was answered early, with a length or in chunks: its connection is not
/// idle.
#[test]
fn an_upload_that_was_answered_early_may_be_finished() {
    let uploads = [
        ("content-length: 10", "first", "hello"),
        (
            "transfer-encoding: chunked",
            "5\r\nfi",
            "rst\r\n6\r\nhello!\r\n0\r\n\r\n",
        ),
    ];
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let mut conns = uploads.map(|(body, first, _)| {
        let mut conn = connect(&server);
        let head = format!("POST /accepted HTTP/1.1\r\nhost: test\r\n{body}\r\n\r\n{first}");
        conn.send(head.as_bytes()).expect("an open connection");
        assert_eq!(conn.read_response().expect("an answer").head.status, 202);
        conn
    });
    overtaken(&server);
    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    // It would be closed by now if it were idle.
    thread::sleep(Duration::from_millis(200));
    for (conn, (_, _, rest)) in conns.iter_mut().zip(uploads) {
        conn.send(rest.as_bytes()).expect("an open connection");
        assert!(conn.is_eof(TIMEOUT).expect("no reset"));
    }
    for length in [10, 11] {
        let read = format!("an upload of {length} bytes was read");
        server
            .wait_for_stdout(&read, TIMEOUT)
            .expect("a whole upload");
    }
    ended_with_work(&mut server);
}

/// The same over HTTP/2.
#[test]
fn an_http2_upload_that_is_half_sent_may_be_finished() {
    let mut server = hyper(&[("KEEP_ALIVE_GRACE_MS", "0")]);
    let half = vec![b'u'; 16_000];
    let mut conn = H2Conn::open(server.addr()).expect("the server listens");
    let stream = conn.post("/echo").expect("an open connection");
    conn.send_data(stream, &half, false).expect("a window");
    read_by_server(&mut conn);
    overtaken(&server);

    server.signal(Signal::TERM).expect("a live process");
    refused(server.addr());
    conn.send_data(stream, &half, true).expect("a window");
    let answer = conn.read_answer(stream).expect("an end of the stream");
    assert_eq!(answer, complete(&half.repeat(2)));
    drop(conn);
    ended_with_work(&mut server);
}
