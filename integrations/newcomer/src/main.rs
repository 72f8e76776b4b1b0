//! A program that was written against README and the guides alone, as somebody new to this crate
//! would: three routes, a WebSocket, a queue whose rest is stored by a step, and tests without
//! signals.
//!
//! `POST /jobs` queues a job and answers 202; `GET /jobs` tells how many are done; `GET /slow`
//! takes a second; `GET /ws` is a WebSocket that echoes. Run with: `cargo run`.

use std::{
    convert::Infallible,
    io,
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_channel::{Receiver, Sender, TrySendError};
use async_drain::{
    Drain, Guard, Observer, Report, Shutdown, hyper::FromHyper, hyper::Server, signal,
};
use async_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};
use futures_lite::{StreamExt, future::or};
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
    service::service_fn,
    upgrade::OnUpgrade,
};
use smol::{Async, Timer};

/// Which of the queue's jobs are done, and which were stored for the next run.
#[derive(Clone, Default)]
struct Jobs {
    done: Arc<AtomicUsize>,
    stored: Arc<Mutex<Vec<String>>>,
}

fn main() -> io::Result<Report> {
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(8));
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 8080))?;
    println!("listening on {}", listener.get_ref().local_addr()?);
    Ok(smol::block_on(run(
        &drain,
        shutdown,
        listener,
        Jobs::default(),
    )))
}

/// The program, which tests run as well.
async fn run(
    drain: &Drain,
    shutdown: Shutdown,
    listener: Async<TcpListener>,
    jobs: Jobs,
) -> Report {
    let (sender, queue) = async_channel::bounded(1_000);
    smol::spawn(worker(drain.observer(), queue.clone(), jobs.clone())).detach();
    let shutdown = shutdown.then("store the queue", Duration::from_secs(1), {
        let jobs = jobs.clone();
        move || store(queue, jobs)
    });
    let observer = drain.observer();
    let service =
        service_fn(move |request| respond(request, observer.clone(), sender.clone(), jobs.clone()));
    let server = Server::new(drain, |task| smol::spawn(task).detach()).serve(listener, service);
    shutdown.run(server).await
}

async fn respond(
    request: Request<Incoming>,
    drain: Observer,
    queue: Sender<String>,
    jobs: Jobs,
) -> Result<Response<String>, Infallible> {
    let answer = |status, text: String| {
        let mut response = Response::new(text);
        *response.status_mut() = status;
        response
    };
    Ok(match (request.method(), request.uri().path()) {
        (&Method::POST, "/jobs") => match request.into_body().collect().await {
            Ok(body) => {
                let job = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                match queue.try_send(job) {
                    Ok(()) => answer(StatusCode::ACCEPTED, "queued\n".into()),
                    Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                        answer(StatusCode::SERVICE_UNAVAILABLE, "try later\n".into())
                    }
                }
            }
            Err(_) => answer(StatusCode::BAD_REQUEST, String::new()),
        },
        (&Method::GET, "/jobs") => {
            let done = jobs.done.load(Ordering::Relaxed);
            answer(StatusCode::OK, format!("{done} done\n"))
        }
        (&Method::GET, "/slow") => {
            Timer::after(Duration::from_secs(1)).await;
            answer(StatusCode::OK, "slow\n".into())
        }
        (&Method::GET, "/ws") => upgrade(request, &drain),
        _ => answer(StatusCode::NOT_FOUND, String::new()),
    })
}

/// Takes no job once draining has begun, and finishes the one that it has.
async fn worker(drain: Observer, queue: Receiver<String>, jobs: Jobs) {
    while let Ok(guard) = drain.admit() {
        let Some(Ok(job)) = guard.run_until_draining(queue.recv()).await else {
            break;
        };
        let guard = guard.labeled(format!("job {job}"));
        let work = Timer::after(Duration::from_millis(100));
        if guard.run_until_aborting(work).await.is_ok() {
            jobs.done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Keeps what no worker has taken.
async fn store(queue: Receiver<String>, jobs: Jobs) -> io::Result<()> {
    let mut stored = jobs.stored.lock().map_err(|_| io::ErrorKind::Other)?;
    while let Ok(job) = queue.try_recv() {
        stored.push(job);
    }
    Ok(())
}

fn upgrade(mut request: Request<Incoming>, drain: &Observer) -> Response<String> {
    let mut response = Response::new(String::new());
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accept = derive_accept_key(key.as_bytes());
    let Ok(guard) = drain.admit() else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    };
    let session = session(hyper::upgrade::on(&mut request), guard.labeled("WebSocket"));
    smol::spawn(drain.run_until_aborting(session)).detach();

    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        SEC_WEBSOCKET_ACCEPT,
        accept.try_into().expect("it is base64"),
    );
    response
}

async fn session(upgrade: OnUpgrade, guard: Guard) -> Result<(), Error> {
    let Ok(io) = upgrade.await else { return Ok(()) };
    let io = FromHyper::new(io);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Some(message)) = guard.run_until_draining(socket.next()).await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    let frame = CloseFrame {
        code: CloseCode::Away,
        reason: "the server is leaving".into(),
    };
    socket.close(Some(frame)).await?;
    let answer = async { while let Some(Ok(_)) = socket.next().await {} };
    or(answer, async {
        Timer::after(Duration::from_secs(2)).await;
    })
    .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use async_tungstenite::{client_async, tungstenite::Message};
    use futures_lite::{AsyncReadExt, AsyncWriteExt, Future, future::zip};

    use super::*;

    /// Runs the program, and tells it to stop when the client has done its first part.
    fn stop<C: Future<Output = T>, T>(
        client: impl FnOnce(SocketAddr, Drain) -> C,
    ) -> (Report, T, Jobs) {
        let drain = Drain::tracked();
        let shutdown = Shutdown::new(&drain).grace(Duration::from_secs(5));
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
        let addr = listener.get_ref().local_addr().expect("a bound listener");
        let jobs = Jobs::default();
        let program = run(&drain, shutdown, listener, jobs.clone());
        let (report, seen) = smol::block_on(zip(program, client(addr, drain.clone())));
        (report, seen, jobs)
    }

    async fn send(addr: SocketAddr, request: &str) -> Async<TcpStream> {
        let mut peer = Async::<TcpStream>::connect(addr).await.expect("it listens");
        peer.write_all(request.as_bytes()).await.expect("room");
        peer
    }

    async fn answer(mut peer: Async<TcpStream>) -> String {
        let mut text = String::new();
        peer.read_to_string(&mut text).await.expect("an answer");
        text
    }

    #[test]
    fn a_slow_request_is_answered() {
        let (report, answer, _) = stop(|addr, drain| async move {
            let peer = send(addr, "GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
            drain.begin();
            answer(peer).await
        });
        assert!(report.is_drained(), "{report}");
        assert!(answer.ends_with("slow\n"), "{answer}");
    }

    #[test]
    fn each_job_is_done_or_stored() {
        const JOBS: usize = 20;
        let (report, (), jobs) = stop(|addr, drain| async move {
            for n in 0..JOBS {
                let job = format!(
                    "POST /jobs HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 1\r\n\r\n{}",
                    n % 10
                );
                let accepted = answer(send(addr, &job).await).await;
                assert!(accepted.starts_with("HTTP/1.1 202 "), "{accepted}");
            }
            drain.begin();
        });
        assert!(report.is_drained(), "{report}");
        assert_eq!(report.steps()[0].name, "store the queue");
        let stored = jobs.stored.lock().expect("no panic").len();
        assert!(stored > 0, "twenty jobs take two seconds");
        assert_eq!(jobs.done.load(Ordering::Relaxed) + stored, JOBS);
    }

    #[test]
    fn a_web_socket_is_told() {
        let (report, code, _) = stop(|addr, drain| async move {
            let peer = Async::<TcpStream>::connect(addr).await.expect("it listens");
            let (mut socket, _) = client_async("ws://test/ws", peer)
                .await
                .expect("an upgrade");
            socket.send(Message::text("hello")).await.expect("room");
            let echo = socket.next().await.expect("an echo").expect("an echo");
            assert_eq!(echo, Message::text("hello"));
            drain.begin();
            match socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    let code = frame.code;
                    let _ = socket.next().await; // answers the close
                    code
                }
                other => panic!("no close: {other:?}"),
            }
        });
        assert!(report.is_drained(), "{report}");
        assert_eq!(code, CloseCode::Away);
    }

    #[test]
    fn a_request_that_is_aborted_is_named() {
        let (report, answer, _) = stop(|addr, drain| async move {
            let peer = send(addr, "GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await;
            Timer::after(Duration::from_millis(100)).await;
            drain.abort();
            let mut peer = peer;
            let mut text = String::new();
            let _ = peer.read_to_string(&mut text).await;
            text
        });
        assert!(report.to_string().contains("GET /slow"), "{report}");
        assert_eq!(answer, "");
    }
}
