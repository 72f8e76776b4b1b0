use std::{future::Future, net::TcpStream, time::Duration};

use futures_lite::StreamExt;
use hyper::{body::Incoming, client::conn::http2, http::uri::PathAndQuery};
use rustix::process::Signal;
use smol::{Async, block_on};
use smol_hyper::rt::FuturesIo;
use tonic::{Code, Request, Status, Streaming, body::Body, client::Grpc};
use tonic_prost::ProstCodec;

use testkit::process::Server;

/// How long an operation may take that shouldn't have to wait.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, PartialEq, prost::Message)]
struct Number {
    #[prost(uint64, tag = "1")]
    value: u64,
}

/// The answer of `grpc.health.v1.Health`, whose status is of an enumeration; its request has the
/// same shape as long as it is empty.
#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

#[derive(Clone)]
struct Global;

impl<F> hyper::rt::Executor<F> for Global
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        smol::spawn(future).detach();
    }
}

#[derive(Clone)]
struct Client(http2::SendRequest<Body>);

impl Client {
    async fn connect(server: &Server) -> Self {
        let conn = Async::<TcpStream>::connect(server.addr()).await;
        let conn = FuturesIo::new(conn.expect("it listens"));
        let handshake = http2::Builder::new(Global).handshake(conn).await;
        let (sender, conn) = handshake.expect("it speaks HTTP/2");
        smol::spawn(conn).detach();
        Self(sender)
    }

    async fn call(&self, method: &'static str, value: u64) -> Result<Streaming<Number>, Status> {
        self.send(method, Number { value }).await
    }

    /// Asks for the health of all services.
    async fn ask(&self, method: &'static str) -> Streaming<Health> {
        let nothing = Health { status: 0 };
        self.send(method, nothing).await.expect("an answer")
    }

    async fn send<M: prost::Message + Default + 'static>(
        &self,
        method: &'static str,
        message: M,
    ) -> Result<Streaming<M>, Status> {
        let sender = self.0.clone();
        let service = tower::service_fn(move |mut request: hyper::Request<Body>| {
            let mut sender = sender.clone();
            async move {
                let path = request.uri().path().to_owned();
                *request.uri_mut() = format!("http://localhost{path}").parse().expect("a URI");
                sender.send_request(request).await as Result<hyper::Response<Incoming>, _>
            }
        });
        let codec = ProstCodec::<M, M>::default();
        let request = Request::new(message);
        let path = PathAndQuery::from_static(method);
        let response = Grpc::new(service)
            .server_streaming(request, path, codec)
            .await?;
        Ok(response.into_inner())
    }
}

/// The next status, or `None` at the end.
async fn health(answers: &mut Streaming<Health>) -> Option<i32> {
    let answer = answers.next().await?;
    Some(answer.expect("an answer").status)
}

async fn last(mut numbers: Streaming<Number>) -> (u64, Option<Code>) {
    let mut last = 0;
    while let Some(number) = numbers.next().await {
        match number {
            Ok(number) => last = number.value,
            Err(status) => return (last, Some(status.code())),
        }
    }
    (last, None)
}

/// Z3, Z5, Z7
#[test]
fn calls_in_flight_finish_and_streams_without_end_are_told() {
    let mut server = Server::start(env!("CARGO_BIN_EXE_grpc"), &[]).expect("it starts");
    block_on(async {
        let client = Client::connect(&server).await;
        let mut endless = client
            .call("/counter.Counter/Count", 0)
            .await
            .expect("a call");
        let counted = client
            .call("/counter.Counter/Count", 20)
            .await
            .expect("a call");
        let first = endless.next().await.expect("a number").expect("a number");
        assert_eq!(first, Number { value: 1 });
        let asleep = smol::spawn({
            let client = client.clone();
            async move { client.call("/counter.Counter/Sleep", 200).await }
        });
        smol::Timer::after(std::time::Duration::from_millis(50)).await;
        server.signal(Signal::TERM).expect("it runs");

        let asleep = asleep.await.expect("an answer");
        assert_eq!(last(asleep).await, (200, None));
        assert_eq!(last(counted).await, (20, None));
        assert_eq!(last(endless).await.1, Some(Code::Unavailable));
    });
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    assert!(exit.report.starts_with("drained: "), "{}", exit.report);
}

/// A balancer that asks for health is told in lame duck, while calls are still accepted.
#[test]
fn no_service_is_serving_from_lame_duck_on() {
    let env = [("LAME_DUCK_MS", "1000")];
    let mut server = Server::start(env!("CARGO_BIN_EXE_grpc"), &env).expect("it starts");
    block_on(async {
        let client = Client::connect(&server).await;
        let check = "/grpc.health.v1.Health/Check";
        let mut watch = client.ask("/grpc.health.v1.Health/Watch").await;
        assert_eq!(health(&mut watch).await, Some(SERVING));
        assert_eq!(health(&mut client.ask(check).await).await, Some(SERVING));

        server.signal(Signal::TERM).expect("it runs");
        assert_eq!(health(&mut watch).await, Some(NOT_SERVING));
        let client = Client::connect(&server).await;
        assert_eq!(
            health(&mut client.ask(check).await).await,
            Some(NOT_SERVING)
        );
        assert_eq!(health(&mut watch).await, None);
    });
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.report.starts_with("drained: "), "{}", exit.stderr);
}

/// Z4: a connection without a preface ends; hyper alone would wait for it for ever.
#[test]
fn a_peer_that_never_sends_its_preface_does_not_hold_the_process() {
    let env = [
        ("FIRST_REQUEST_GRACE_MS", "200"),
        ("KEEP_ALIVE_GRACE_MS", "100"),
    ];
    let mut server = Server::start(env!("CARGO_BIN_EXE_grpc"), &env).expect("it starts");
    let silent = TcpStream::connect(server.addr()).expect("it listens");
    server.signal(Signal::TERM).expect("it runs");
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    assert!(exit.elapsed.as_secs() < 5, "{:?}", exit.elapsed);
    drop(silent);
}
