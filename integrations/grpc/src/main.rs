//! gRPC without tonic's `transport`, which is tokio's: tonic's codec and streams under
//! `hyper::Server`, on smol. With the health service that balancers ask: from lame duck on, it says
//! NOT_SERVING of every service.
//!
//! The messages are written by hand, so that nothing needs protoc; a generated service is a tower
//! service and goes through `hyper_util::service::TowerToHyperService`, as axum's router does.
//!
//! Run with: `cargo run`; `testkit/src/settings.rs` lists the settings.

use std::{convert::Infallible, error::Error, net::TcpListener, process::ExitCode, time::Duration};

use async_drain::{Drain, Report, Shutdown, hyper::Server, signal};
use futures_lite::{Stream, StreamExt, stream};
use hyper::{body::Incoming, service::service_fn};
use smol::{Async, Timer};
use testkit::{serve, settings::Settings};
use tonic::{Request, Response, Status, body::Body, server::Grpc};
use tonic_prost::ProstCodec;
use tower::service_fn as method;

/// How long `Sleep` takes, how far `Count` counts (0: without end), and the number counted.
#[derive(Clone, PartialEq, prost::Message)]
struct Number {
    #[prost(uint64, tag = "1")]
    value: u64,
}

/// What `grpc.health.v1.Health` is asked: of which service. Here, all have the same health.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
}

fn main() -> ExitCode {
    serve::run(run)
}

fn run() -> Result<Report, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .lame_duck(settings.lame_duck)
        .grace(settings.grace)
        .abort_grace(settings.abort_grace);

    let listener = Async::<TcpListener>::bind(settings.addr)?;
    serve::announce(listener.get_ref().local_addr()?);
    let service = service_fn({
        let drain = drain.clone();
        move |request| call(request, drain.clone())
    });
    let server = Server::new(&drain, |task| smol::spawn(task).detach())
        .keep_alive_grace(settings.keep_alive_grace)
        .first_request_grace(settings.first_request_grace)
        .serve(listener, service);
    Ok(smol::block_on(shutdown.run(server)))
}

/// Stands for what tonic-build would generate.
async fn call(
    request: hyper::Request<Incoming>,
    drain: Drain,
) -> Result<hyper::Response<Body>, Infallible> {
    let mut grpc = Grpc::new(ProstCodec::<Number, Number>::default());
    let mut health = Grpc::new(ProstCodec::<HealthCheckResponse, HealthCheckRequest>::default());
    Ok(match request.uri().path() {
        "/grpc.health.v1.Health/Check" => {
            let check = method(|_| {
                let health = health_of(&drain);
                async move { Ok::<_, Status>(Response::new(health)) }
            });
            health.unary(check, request).await
        }
        "/grpc.health.v1.Health/Watch" => {
            let watch = method(|_| {
                let changes = changes(drain.clone());
                async move { Ok::<_, Status>(Response::new(changes)) }
            });
            health.server_streaming(watch, request).await
        }
        "/counter.Counter/Sleep" => grpc.unary(method(sleep), request).await,
        "/counter.Counter/Count" => {
            let count = method(|request| count(request, drain.clone()));
            grpc.server_streaming(count, request).await
        }
        _ => Status::unimplemented("no such method").into_http(),
    })
}

async fn sleep(request: Request<Number>) -> Result<Response<Number>, Status> {
    let number = request.into_inner();
    Timer::after(Duration::from_millis(number.value)).await;
    Ok(Response::new(number))
}

/// Finishes a stream that ends by itself. One that doesn't ends when draining begins, and its
/// client is told to come back (Z7).
#[allow(clippy::unused_async, reason = "a method is asynchronous")]
async fn count(
    request: Request<Number>,
    drain: Drain,
) -> Result<Response<stream::Boxed<Result<Number, Status>>>, Status> {
    let end = request.into_inner().value;
    Ok(Response::new(if end > 0 {
        numbers(end).boxed()
    } else {
        let leaving = stream::once(Err(Status::unavailable("the server is leaving")));
        drain
            .run_until_draining(numbers(u64::MAX))
            .chain(leaving)
            .boxed()
    }))
}

fn health_of(drain: &Drain) -> HealthCheckResponse {
    let status = if drain.readiness().is_ready() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    HealthCheckResponse {
        status: status.into(),
    }
}

/// Yields the health now and, once lame duck begins, that nothing is served; ends when draining
/// begins.
fn changes(drain: Drain) -> stream::Boxed<Result<HealthCheckResponse, Status>> {
    let now = health_of(&drain);
    let observer = drain.observer();
    let later = stream::once_future(async move {
        drain.until_lame_duck().await;
        health_of(&drain)
    });
    let changes = stream::once(now).chain(later).chain(stream::pending());
    observer.run_until_draining(changes).map(Ok).boxed()
}

fn numbers(end: u64) -> impl Stream<Item = Result<Number, Status>> + Send {
    stream::iter(1..=end).then(|value| async move {
        Timer::after(Duration::from_millis(20)).await;
        Ok(Number { value })
    })
}
