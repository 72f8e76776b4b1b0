//! An admin listener that outlives the drain: probes and metrics are answered until the exit.
//!
//! When draining begins, the service's own listener closes, and whatever watches the program would
//! see nothing of what matters most. So the admin listener has a drain of its own, which begins
//! after the service's has ended.
//!
//! Run with: `cargo run --example admin`, then `curl localhost:8080/slow`, Ctrl-C, and `curl
//! localhost:9090/metrics` or `/readyz` before the answer has come.

use std::{
    convert::Infallible,
    env,
    error::Error,
    fmt::Write,
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_drain::{
    Drain, Observer, Progress, Readiness, Report, Shutdown,
    hyper::{Probes, Server},
    signal,
};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use smol::{Async, Timer};

fn main() -> Result<Report, Box<dyn Error>> {
    let drain = Drain::tracked();
    let latest = Latest::default();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .lame_duck(Duration::from_secs(1))
        .grace(Duration::from_secs(20))
        .on_progress(Duration::from_secs(1), {
            let latest = Arc::clone(&latest);
            move |progress| {
                // Also while the service runs.
                progress.call_again_within(Duration::from_secs(1));
                *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.clone());
            }
        });
    let listener = listen("ADDR", "127.0.0.1:8080")?;
    println!("listening on {}", listener.get_ref().local_addr()?);
    let admin_listener = listen("ADMIN_ADDR", "127.0.0.1:9090")?;
    println!("admin on {}", admin_listener.get_ref().local_addr()?);

    let readiness = drain.readiness();
    let warming_up = readiness.hold("warming up");
    smol::spawn(async move {
        Timer::after(Duration::from_millis(200)).await; // e.g. fills the caches
        drop(warming_up);
    })
    .detach();

    let admin = Drain::new();
    let metrics = service_fn({
        let (observer, readiness) = (drain.observer(), readiness.clone());
        move |request| {
            let latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
            let response = metrics(&request, &observer, &readiness, latest.as_ref());
            async { Ok::<_, Infallible>(response) }
        }
    });
    let admin_server = Server::new(&admin, |task| smol::spawn(task).detach())
        .keep_alive_grace(Duration::ZERO)
        .serve(admin_listener, Probes::new(readiness, metrics));
    smol::spawn(admin_server).detach();

    let server =
        Server::new(&drain, |task| smol::spawn(task).detach()).serve(listener, service_fn(serve));
    Ok(smol::block_on(async {
        let report = shutdown.run(server).await;
        // The report is that of the service; a request to the admin listener may be cut.
        let _ = admin.finish_within(Duration::from_secs(1)).await;
        report
    }))
}

/// What the shutdown told last.
type Latest = Arc<Mutex<Option<Progress>>>;

fn listen(variable: &str, default: &str) -> Result<Async<TcpListener>, Box<dyn Error>> {
    let addr = env::var(variable).unwrap_or_else(|_| default.to_owned());
    Ok(Async::new(TcpListener::bind(addr)?)?)
}

async fn serve(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    if request.uri().path() == "/slow" {
        Timer::after(Duration::from_secs(5)).await;
    }
    Ok(Response::new("hello\n".to_owned()))
}

/// Answers `/metrics` in the text format of Prometheus.
fn metrics(
    request: &Request<Incoming>,
    drain: &Observer,
    readiness: &Readiness,
    progress: Option<&Progress>,
) -> Response<String> {
    let mut response = Response::new(String::new());
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let mut numbers = vec![
        ("requests_in_flight", drain.in_flight().to_string()),
        ("ready", u8::from(readiness.is_ready()).to_string()),
        // 0 running, 1 lame duck, 2 draining, 3 aborting, 4 drained.
        ("phase", (drain.phase() as u8).to_string()),
    ];
    if let Some(progress) = progress {
        numbers.push(("connections_idle", progress.idle.to_string()));
        if let Some(oldest) = &progress.oldest {
            numbers.push((
                "oldest_request_seconds",
                oldest.age.as_secs_f64().to_string(),
            ));
        }
        if let Some(left) = progress.left {
            numbers.push(("shutdown_seconds_left", left.as_secs_f64().to_string()));
        }
    }
    for (name, value) in numbers {
        // Writing to a `String` does not fail.
        let _ = writeln!(response.body_mut(), "# TYPE {name} gauge\n{name} {value}");
    }
    response
}
