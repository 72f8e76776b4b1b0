use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures_rustls::rustls::{
    self, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use h3::client::{RequestStream, SendRequest};
use h3_quinn::{BidiStream, OpenStreams};
use quinn::{Endpoint, EndpointConfig, SmolRuntime, crypto::rustls::QuicClientConfig};
use rustix::process::Signal;
use smol::{Timer, block_on};

use testkit::process::Server;

/// How long an operation may take that shouldn't have to wait.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Accepts any certificate, since the server makes its own at start.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

fn endpoint() -> Endpoint {
    let mut tls = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let runtime = Arc::new(SmolRuntime);
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime);
    let mut endpoint = endpoint.expect("a socket");
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    endpoint
}

struct Client {
    sender: SendRequest<OpenStreams, Bytes>,
    /// Ends when the connection does.
    driver: smol::Task<h3::error::ConnectionError>,
}

impl Client {
    async fn connect(endpoint: &Endpoint, addr: SocketAddr) -> Self {
        let conn = endpoint.connect(addr, "localhost").expect("a good address");
        let conn = conn.await.expect("it speaks QUIC");
        let client = h3::client::new(h3_quinn::Connection::new(conn)).await;
        let (mut driver, sender) = client.expect("it speaks HTTP/3");
        let driver = smol::spawn(async move { driver.wait_idle().await });
        Self { sender, driver }
    }

    async fn get(&mut self, path: &str) -> RequestStream<BidiStream<Bytes>, Bytes> {
        let request = hyper::Request::get(format!("https://localhost{path}"));
        let request = request.body(()).expect("a request");
        let stream = self.sender.send_request(request).await;
        let mut stream = stream.expect("an open connection");
        stream.finish().await.expect("an open stream");
        stream
    }
}

async fn body(mut stream: RequestStream<BidiStream<Bytes>, Bytes>) -> Vec<u8> {
    let response = stream.recv_response().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let mut body = Vec::new();
    while let Some(data) = stream.recv_data().await.expect("all of it") {
        body.extend_from_slice(data.chunk());
    }
    body
}

/// Z3 Z5: HTTP/3's GOAWAY comes in two steps, and requests in flight are answered.
#[test]
fn requests_in_flight_finish_after_a_goaway() {
    let mut server = Server::start(env!("CARGO_BIN_EXE_http3"), &[]).expect("it starts");
    block_on(async {
        let endpoint = endpoint();
        let mut client = Client::connect(&endpoint, server.addr()).await;
        let hello = client.get("/").await;
        assert_eq!(body(hello).await, b"hello\n");
        let streamed = client.get("/stream/20/20").await;
        let asleep = client.get("/sleep/200").await;
        Timer::after(Duration::from_millis(50)).await;
        server.signal(Signal::TERM).expect("it runs");

        assert_eq!(body(asleep).await, b"slept\n");
        assert!(body(streamed).await.ends_with(b"chunk 19\n"));
        let refused = endpoint
            .connect(server.addr(), "localhost")
            .expect("a good address");
        assert!(refused.await.is_err(), "new peers are refused");
        // As a client that has read the GOAWAY, and has all its answers.
        drop(client.sender);
        client.driver.await;
        endpoint.wait_idle().await;
    });
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    assert!(exit.report.starts_with("drained: "), "{}", exit.report);
}

/// Z2: a peer that has everything and stays connected doesn't delay the exit.
#[test]
fn an_idle_connection_is_closed_within_the_grace() {
    let env = [("KEEP_ALIVE_GRACE_MS", "100")];
    let mut server = Server::start(env!("CARGO_BIN_EXE_http3"), &env).expect("it starts");
    block_on(async {
        let endpoint = endpoint();
        let client = Client::connect(&endpoint, server.addr()).await;
        server.signal(Signal::TERM).expect("it runs");
        client.driver.await;
    });
    let exit = server.wait(TIMEOUT).expect("it ends");
    assert!(exit.status.success(), "{}", exit.stderr);
    assert!(exit.elapsed < Duration::from_secs(5), "{:?}", exit.elapsed);
}
