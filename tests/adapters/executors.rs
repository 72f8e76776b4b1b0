//! The server on every executor that smol offers; async-std and tokio are in `integrations/`.

use std::{cell::Cell, future::pending, rc::Rc, sync::Arc, thread};

use async_drain::{Drain, hyper::Server};
use async_executor::{Executor, LocalExecutor};
use futures_lite::future::{block_on, or, poll_once};
use hyper::service::service_fn;

use testkit::scene::{Scene, handler};

#[test]
fn a_server_runs_on_the_global_executor_of_smol() {
    let (scene, listener) = Scene::new();
    let drain = scene.drain.clone();
    let server = Server::new(&scene.drain, |task| smol::spawn(task).detach())
        .serve(listener, service_fn(move |r| handler(r, drain.clone())));
    smol::block_on(scene.play(server));
}

#[test]
fn a_server_runs_on_an_executor_of_two_threads() {
    let (scene, listener) = Scene::new();
    let (drain, stop) = (scene.drain.clone(), Drain::new());
    let executor = Arc::new(Executor::new());
    let spawner = Arc::clone(&executor);
    let server = Server::new(&scene.drain, move |task| spawner.spawn(task).detach())
        .serve(listener, service_fn(move |r| handler(r, drain.clone())));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| block_on(executor.run(stop.until_draining())));
        }
        // The server's own future is a task as well.
        block_on(executor.spawn(scene.play(server)));
        stop.begin();
    });
}

/// Nothing that serves needs to be `Send`.
#[test]
fn a_server_runs_on_a_local_executor_with_a_handler_that_is_not_send() {
    let (scene, listener) = Scene::new();
    let drain = scene.drain.clone();
    let executor = Rc::new(LocalExecutor::new());
    let spawner = Rc::clone(&executor);
    let answered = Rc::new(Cell::new(0));
    let counted = Rc::clone(&answered);
    let service = service_fn(move |request| {
        let (drain, counted) = (drain.clone(), Rc::clone(&counted));
        async move {
            let response = handler(request, drain).await;
            // It lives across an await, which makes the future `!Send`.
            counted.set(counted.get() + 1);
            response
        }
    });
    let server = Server::local(&scene.drain, move |task| spawner.spawn(task).detach())
        .serve(listener, service);
    block_on(executor.run(scene.play(server)));
    assert_eq!(answered.get(), 1);
}

/// No executor with threads of its own, and no reactor except async-io's.
#[test]
fn a_server_runs_on_block_on_alone() {
    let (scene, listener) = Scene::new();
    let drain = scene.drain.clone();
    let tasks = async_channel::unbounded();
    let spawner = tasks.0;
    let server = Server::local(&scene.drain, move |task| {
        spawner.try_send(task).expect("the channel is open");
    })
    .serve(listener, service_fn(move |r| handler(r, drain.clone())));
    // One connection at a time, each to its end: the simplest loop.
    let connections = async {
        while let Ok(task) = tasks.1.recv().await {
            task.await;
        }
        pending::<()>().await;
    };
    block_on(or(scene.play(server), connections));
}

/// S2: a task that its executor drops no longer counts.
#[test]
fn a_task_that_is_dropped_gives_its_guard_back() {
    let drain = Drain::new();
    let guarded = || drain.guard().expect("not drained").wrap(pending::<()>());

    let executor = Executor::new();
    let task = executor.spawn(guarded());
    executor.spawn(guarded()).detach();
    assert_eq!(drain.in_flight(), 2);
    drop(task);
    block_on(poll_once(executor.run(pending::<()>())));
    assert_eq!(drain.in_flight(), 1);
    drop(executor);
    assert_eq!(drain.in_flight(), 0);

    let local = LocalExecutor::new();
    local.spawn(guarded()).detach();
    assert_eq!(drain.in_flight(), 1);
    drop(local);
    assert_eq!(drain.in_flight(), 0);
    drain.begin();
    drain.until_drained().wait();
}

/// A panic of a task drops its guard like any other end.
#[test]
fn a_task_that_panics_gives_its_guard_back() {
    let drain = Drain::new();
    let guard = drain.guard().expect("not drained");
    let executor = Executor::new();
    let task = executor.spawn(guard.wrap(async { panic!("in a task") }));
    let awaited = thread::scope(|scope| {
        let run = scope.spawn(|| block_on(executor.run::<()>(task)));
        run.join()
    });
    assert!(awaited.is_err(), "the panic reaches who waits for the task");
    assert_eq!(drain.in_flight(), 0);
}
