//! A server and its own tests, which stop it without signals: the program is a function of a drain
//! and a listener, and a test begins that drain.
//!
//! Test with: `cargo test --example testing`.

use std::{convert::Infallible, env, error::Error, io, net::TcpListener, time::Duration};

use async_drain::{Drain, Report, Shutdown, hyper::Server, signal};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::{Async, Timer};

fn main() -> Result<Report, Box<dyn Error>> {
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(10));

    let listener = TcpListener::bind(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let server = serve(&drain, Async::new(listener)?);
    Ok(smol::block_on(shutdown.run(server)))
}

async fn serve(drain: &Drain, listener: Async<TcpListener>) -> io::Result<()> {
    Server::new(drain, |task| smol::spawn(task).detach())
        .serve(listener, service_fn(answer))
        .await
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    match request.uri().path() {
        "/hang" => std::future::pending().await,
        _ => Timer::after(Duration::from_millis(100)).await,
    };
    Ok(Response::new("hello\n".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use super::*;
    use futures_lite::{AsyncReadExt, AsyncWriteExt, future::zip};

    /// Returns a listener on a free port, and its address.
    fn listen() -> (Async<TcpListener>, SocketAddr) {
        let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
        let addr = listener.get_ref().local_addr().expect("a bound listener");
        (listener, addr)
    }

    /// Sends a request, begins the drain, and returns all that the server says before it closes.
    async fn ask(addr: SocketAddr, path: &str, drain: &Drain) -> String {
        let conn = Async::<TcpStream>::connect(addr).await;
        let mut conn = conn.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        conn.write_all(request.as_bytes()).await.expect("room");
        drain.begin();
        let mut answer = String::new();
        // A connection that is cut may end with a reset.
        let _ = conn.read_to_string(&mut answer).await;
        answer
    }

    #[test]
    fn a_request_in_flight_is_answered() {
        let (listener, addr) = listen();
        let drain = Drain::new();
        let stop = async {
            serve(&drain, listener).await.expect("a working listener");
            drain.finish_within(Duration::from_secs(10)).await
        };
        let (report, answer) = smol::block_on(zip(stop, ask(addr, "/", &drain)));
        assert!(report.is_drained(), "{report}");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("hello\n"), "{answer}");
    }

    #[test]
    fn a_request_that_hangs_is_named_in_the_report() {
        let (listener, addr) = listen();
        let drain = Drain::tracked();
        let stop = async {
            serve(&drain, listener).await.expect("a working listener");
            drain.finish_within(Duration::from_millis(100)).await
        };
        let (report, _) = smol::block_on(zip(stop, ask(addr, "/hang", &drain)));
        assert!(!report.is_drained(), "{report}");
        assert!(report.to_string().contains("GET /hang"), "{report}");
    }
}
