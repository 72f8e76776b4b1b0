//! Steps after the drain: each request that is answered 200 is a row after the exit, even if the
//! operator sends a second signal while the rows are flushed.
//!
//! Requests are answered as soon as their row is queued, and a thread writes the rows in batches.
//! On SIGTERM: stop listening, finish the requests, flush the queue, close the database.
//!
//! Run with: `cargo run --example sqlite`, then `curl -d 'a row' localhost:8080`, and Ctrl-C.

use std::{
    convert::Infallible,
    env,
    error::Error,
    io::{self, Write},
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_channel::{Receiver, Sender};
use async_drain::{Drain, Report, Shutdown, hyper::Server, signal};
use blocking::unblock;
use http_body_util::BodyExt;
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use rusqlite::Connection;
use smol::Async;

fn main() -> Result<Report, Box<dyn Error + Send + Sync>> {
    let signals = signal::termination()?;
    let path = env::var("DATABASE").unwrap_or_else(|_| "rows.db".to_owned());
    let database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(10))?;
    database.execute("CREATE TABLE IF NOT EXISTS rows (text TEXT)", ())?;
    let database = Arc::new(Mutex::new(database));

    let (queue, queued) = async_channel::bounded(10_000);
    let writer = unblock({
        let database = Arc::clone(&database);
        move || write_rows(&database, &queued)
    });

    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signals)
        .grace(Duration::from_secs(8))
        .on_progress(Duration::from_secs(1), |progress| {
            // Unlike `eprintln!`, this does not panic if stderr is closed.
            let _ = writeln!(io::stderr(), "{progress}");
        })
        .then("flush the queue", Duration::from_secs(15), {
            let queue = queue.clone();
            move || {
                queue.close();
                writer
            }
        })
        .then("close the database", Duration::from_secs(2), || {
            unblock(move || close(database))
        })
        // TimeoutStopSec, or terminationGracePeriodSeconds
        .within(Duration::from_secs(28))?;

    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let service = service_fn(move |request| answer(request, queue.clone()));
    let server = Server::new(&drain, |task| smol::spawn(task).detach())
        .serve(Async::new(listener)?, service);
    Ok(smol::block_on(shutdown.run(server)))
}

/// Answers 200 once the row is queued. From then on only a crash can lose it.
async fn answer(
    request: Request<Incoming>,
    queue: Sender<String>,
) -> Result<Response<String>, Infallible> {
    let mut response = Response::new("queued\n".to_owned());
    let queued = match request.into_body().collect().await {
        Ok(body) => {
            let row = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            queue.send(row).await.is_ok()
        }
        Err(_) => false,
    };
    if !queued {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        "not queued\n".clone_into(response.body_mut());
    }
    Ok(response)
}

/// Writes rows until the queue is closed and empty.
fn write_rows(database: &Mutex<Connection>, queued: &Receiver<String>) -> rusqlite::Result<()> {
    while let Ok(first) = queued.recv_blocking() {
        let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = database.transaction()?;
        let mut insert = transaction.prepare_cached("INSERT INTO rows VALUES (?1)")?;
        insert.execute([first])?;
        // What has been queued since goes into the same transaction.
        for _ in 0..1000 {
            match queued.try_recv() {
                Ok(row) => insert.execute([row])?,
                Err(_) => break,
            };
        }
        drop(insert);
        transaction.commit()?;
    }
    Ok(())
}

fn close(database: Arc<Mutex<Connection>>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let database = Arc::into_inner(database).ok_or("rows are still being written")?;
    let database = database
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    database.close().map_err(|(_, error)| error.into())
}
