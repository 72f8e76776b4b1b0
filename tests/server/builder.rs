//! How a `hyper::Server` is put together.

use std::{
    any::type_name,
    future::{Future, pending, ready},
    sync::{Arc, Mutex},
};

use async_drain::{Drain, Phase, hyper::Server};
use hyper::{Request, body::Incoming, rt::Executor, service::service_fn};

use crate::in_process::{answer, listener};
use testkit::{
    client::Conn,
    h2::{Answer, H2Conn},
    subject::hello,
};

/// Settings hold whatever the caller sets afterwards.
#[test]
fn settings_survive_what_is_built_after_them() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let serving = Server::new(&drain, |task| smol::spawn(task).detach())
        .configure(|http| {
            http.http1().keep_alive(false);
        })
        .peer_addresses(true)
        .handshake(|connection| ready(Ok(connection)))
        .serve(listener, service_fn(answer));
    let serving = smol::spawn(serving);
    // It says `close`, since it keeps no connection alive.
    hello(&mut Conn::open(addr).expect("the server listens"), true);
    drain.begin();
    smol::block_on(serving).expect("no failure");
    drain.until_drained().wait();
}

/// An executor that records the types of its tasks.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<&'static str>>>);

impl<T: Future<Output = ()> + Send + 'static> Executor<T> for Recorder {
    fn execute(&self, task: T) {
        self.0.lock().expect("no panic").push(type_name::<T>());
        smol::spawn(task).detach();
    }
}

/// Any executor for hyper works, and its tasks are not boxed.
#[test]
fn an_executor_of_hypers_gets_its_tasks_unboxed() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let recorder = Recorder::default();
    let serving = Server::with_executor(&drain, recorder.clone());
    let serving = smol::spawn(serving.serve(listener, service_fn(answer)));
    let mut conn = H2Conn::open(addr).expect("the server listens");
    for _ in 0..2 {
        let stream = conn.get("/").expect("an open connection");
        assert_eq!(
            conn.read_answer(stream).expect("an end of the stream"),
            Answer::Complete {
                status: 200,
                body: b"hello\n".to_vec()
            }
        );
    }
    drain.begin();
    conn.read_to_end().expect("no reset");
    smol::block_on(serving).expect("no failure");
    drain.until_drained().wait();
    let tasks = recorder.0.lock().expect("no panic");
    assert_eq!(
        tasks.len(),
        3,
        "a connection and its two streams: {tasks:?}"
    );
    for task in &*tasks {
        assert!(!task.contains("Box<"), "{task}");
    }
}

/// Z12: its tasks end when aborting begins, like all others.
#[test]
fn tasks_on_an_executor_of_hypers_end_when_aborting_begins() {
    let drain = Drain::new();
    let (listener, addr) = listener();
    let (begun, begins) = smol::channel::unbounded();
    let service = service_fn(move |request: Request<Incoming>| {
        let begun = begun.clone();
        async move {
            begun.send(()).await.expect("the test listens");
            pending::<()>().await;
            answer(request).await
        }
    });
    let serving = Server::with_executor(&drain, Recorder::default());
    let serving = smol::spawn(serving.serve(listener, service));
    let mut conns = (
        Conn::open(addr).expect("the server listens"),
        H2Conn::open(addr).expect("the server listens"),
    );
    conns.0.get("/").expect("an open connection");
    conns.1.get("/").expect("an open connection");
    for _ in 0..2 {
        begins.recv_blocking().expect("the handlers run");
    }
    drain.begin();
    drain.abort();
    smol::block_on(serving).expect("no failure");
    drain.until_drained().wait();
    assert_eq!(drain.phase(), Phase::Drained);
}
