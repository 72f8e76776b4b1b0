//! What an operator is told of a server's graces.

use std::{convert::Infallible, net::TcpListener, sync::mpsc, time::Duration};

use async_drain::{Drain, Shutdown, hyper::Server};
use futures_lite::future::block_on;
use hyper::{Request, Response, body::Incoming, service::service_fn};

/// Returns what a shutdown with a grace period of two seconds warns of.
fn warnings(keep_alive_grace: Duration, first_request_grace: Duration) -> Vec<String> {
    let drain = Drain::new();
    let (tell, told) = mpsc::channel();
    let shutdown = Shutdown::new(&drain)
        .grace(Duration::from_secs(2))
        .on_progress(Duration::MAX, move |progress| {
            let words = progress.event.as_deref().filter(|_| progress.warning);
            if let Some(words) = words {
                tell.send(words.to_owned()).unwrap();
            }
        });
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let respond = async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(String::new()));
    let server = Server::new(&drain, |_| unreachable!("no peer connects"))
        .keep_alive_grace(keep_alive_grace)
        .first_request_grace(first_request_grace)
        .serve(listener, service_fn(respond));
    drain.begin();
    assert!(block_on(shutdown.run(server)).is_drained());
    told.try_iter().collect()
}

/// The grace period would cut short what the server gives its idle peers.
#[test]
fn a_grace_of_the_server_that_is_longer_than_the_grace_period_is_a_warning() {
    let [second, minute] = [1, 60].map(Duration::from_secs);
    assert_eq!(warnings(second, second), [""; 0]);
    // The default is longer than the grace period as well, but no user set it.
    assert_eq!(warnings(second, 5 * second), [""; 0]);
    assert_eq!(
        warnings(minute, second),
        ["the keep-alive grace of 60 s is longer than the grace period of 2 s"]
    );
    assert_eq!(
        warnings(second, 2 * minute),
        ["the first-request grace of 120 s is longer than the grace period of 2 s"]
    );
}
