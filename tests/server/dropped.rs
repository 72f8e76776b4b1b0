//! Connections that are dropped with their executor.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    thread,
    time::Duration,
};

use async_drain::{
    Drain, Guard,
    hyper::{FromHyper, Server},
};
use async_executor::LocalExecutor;
use futures_lite::{
    AsyncWrite, AsyncWriteExt,
    future::{block_on, zip},
};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use smol::{Async, future::pending};
use socket2::{Domain, Socket, Type};
use testkit::{
    client::Conn,
    subject::{hello, refused},
};

/// Runs a server on an executor and a thread of its own; if `whole` is set, the executor runs until
/// the drain is drained.
fn serve(
    drain: &Drain,
    whole: bool,
    begun: smol::channel::Sender<()>,
) -> (SocketAddr, thread::JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound listener");
    let drain = drain.clone();
    let server = thread::spawn(move || {
        let executor = Rc::new(LocalExecutor::new());
        let spawner = Rc::clone(&executor);
        let slow = service_fn(move |request: Request<Incoming>| {
            let begun = begun.clone();
            async move {
                if request.uri().path() == "/slow" {
                    begun.send(()).await.expect("the test listens");
                    pending::<()>().await;
                }
                Ok::<_, Infallible>(Response::new("hello\n".to_owned()))
            }
        });
        let serving = Server::local(&drain, move |task| spawner.spawn(task).detach())
            .serve(Async::new(listener)?, slow);
        if whole {
            block_on(executor.run(zip(serving, drain.until_drained()))).0
        } else {
            block_on(executor.run(serving))
        }
    });
    (addr, server)
}

/// S8: a request that is dropped with its executor is abandoned, and named. An idle connection is
/// not.
#[test]
fn a_connection_that_is_dropped_at_work_with_its_executor_is_abandoned() {
    let drain = Drain::tracked();
    let (begun, begins) = smol::channel::unbounded();
    let (addr, server) = serve(&drain, false, begun);
    let mut idle = Conn::open(addr).expect("the server listens");
    hello(&mut idle, false);
    let mut conn = Conn::open(addr).expect("the server listens");
    conn.get("/slow").expect("an open connection");
    begins.recv_blocking().expect("the handler runs");
    let report = block_on(drain.finish_within(Duration::from_secs(5)));
    server.join().expect("no panic").expect("no failure");
    refused(addr);
    assert_eq!(report.stragglers().total(), 1, "{report}");
    assert!(report.to_string().contains("GET /slow"), "{report}");
}

/// Z5: an executor per thread that runs until the drain is drained loses nothing.
#[test]
fn an_executor_that_runs_until_drained_abandons_nothing() {
    let drain = Drain::tracked();
    let (begun, _begins) = smol::channel::unbounded();
    let servers = [(); 2].map(|()| serve(&drain, true, begun.clone()));
    let mut conns = servers
        .each_ref()
        .map(|(addr, _)| Conn::open(*addr).expect("the server listens"));
    for conn in &mut conns {
        hello(conn, false);
        conn.send(b"GET / HT").expect("an open connection");
    }
    drain.begin();
    for (addr, _) in &servers {
        refused(*addr);
    }
    for conn in &mut conns {
        conn.send(b"TP/1.1\r\nhost: test\r\n\r\n")
            .expect("an open connection");
        assert_eq!(conn.read_response().expect("an answer").head.status, 200);
    }
    let report = block_on(drain.finish_within(Duration::from_secs(5)));
    assert!(report.is_drained(), "{report}");
    for (_, server) in servers {
        server.join().expect("no panic").expect("no failure");
    }
}

/// S8: what an upgraded connection loses is in the report, though the server's guard is gone.
#[test]
fn bytes_that_an_upgraded_connection_loses_are_reported() {
    let drain = Drain::tracked();
    let listener = Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).expect("a free port");
    let addr = listener.get_ref().local_addr().expect("a bound listener");
    let (guards, guard) = smol::channel::bounded(1);
    let (ends, end) = smol::channel::bounded(1);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (guard, ends) = (guard.clone(), ends.clone());
        async move {
            let upgraded = hyper::upgrade::on(&mut request);
            smol::spawn(async move {
                let guard: Guard = guard.recv().await.expect("the test gives one");
                let mut io = guard.wrap(FromHyper::new(upgraded.await.expect("a tunnel")));
                write_and_close(&mut io).await;
                drop(io);
                ends.send(()).await.expect("the test listens");
            })
            .detach();
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let serving = Server::new(&drain, |task| smol::spawn(task).detach())
        .stall_limit(Duration::from_millis(100))
        .serve(listener, service);
    smol::spawn(async { drop(serving.await) }).detach();
    // Its kernel buffers about 64 KB, and it reads no more than the head.
    let peer = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    peer.set_recv_buffer_size(32 * 1024).expect("a socket");
    peer.connect(&addr.into()).expect("the server listens");
    let mut peer = TcpStream::from(peer);
    peer.write_all(b"CONNECT tunnel:80 HTTP/1.1\r\nhost: tunnel:80\r\n\r\n")
        .expect("an open connection");
    peer.read_exact(&mut [0; 12]).expect("a head");
    guards
        .send_blocking(drain.guard().expect("it runs"))
        .expect("the task listens");
    drain.enter_lame_duck();
    end.recv_blocking().expect("the task ends");
    let report = block_on(drain.finish_within(Duration::from_secs(5)));
    assert!(!report.is_drained(), "{report}");
    assert_eq!(report.stragglers().total(), 1, "{report}");
}

/// Writes more than the peer takes and less than the kernel does, and closes.
async fn write_and_close(io: &mut (impl AsyncWrite + Unpin)) {
    io.write_all(&vec![b'x'; 500_000])
        .await
        .expect("an open connection");
    io.close().await.expect("no error");
}
