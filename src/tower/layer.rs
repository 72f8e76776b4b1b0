use std::{fmt, panic::Location, sync::Arc};

use tower_layer::Layer;

use super::service::DrainService;
use crate::{Drain, Guard, Observer, drain::node::Node};

/// Gives each request a guard until the end of its answer's body, and tells peers to leave.
///
/// If the drain tracks its guards, that of a request is named by its method and path. The layer
/// observes the drain: it does not keep it running.
///
/// From lame duck on, all answers to HTTP/1 requests say `Connection: close`. The layer doesn't see
/// connections, so it can't spare those that were accepted in lame duck, as `hyper::Server` does;
/// under that server, its answers close them too. HTTP/2 is left to the server.
///
/// Once the drain is drained there are no new guards. Requests are served all the same, and told to
/// leave: a service that knows a reason can refuse them.
///
/// The layer counts and names, and must not be all that a process waits for before it exits: see
/// the [module](crate::tower). Under `hyper::Server`, whose connections count and are named
/// already, it counts each request once more. There it is of use for a part of a router, or to
/// count the requests of HTTP/2 one by one.
///
/// ```
/// use async_drain::{Drain, tower::DrainLayer};
/// use axum::{Router, routing::get};
///
/// let drain = Drain::tracked();
/// let app: Router = Router::new()
///     .route("/export", get(|| async { "a long answer" }))
///     .layer(DrainLayer::new(&drain));
/// ```
///
/// # axum on `hyper::Server`
///
/// A `Router` is a service of tower's. hyper-util's `TowerToHyperService` (feature `service`) makes
/// it one of hyper's:
///
/// ```
/// # use async_drain::{Drain, hyper::Server};
/// # use axum::Router;
/// # use std::{io, net::TcpListener};
/// use hyper_util::service::TowerToHyperService;
///
/// # async fn serve(drain: Drain, listener: TcpListener, app: Router) -> io::Result<()> {
/// Server::new(&drain, |task| smol::spawn(task).detach())
///     .serve(listener, TowerToHyperService::new(app))
///     .await
/// # }
/// ```
///
/// axum's own feature `ws` needs tokio. Without it, a handler answers the handshake itself, takes
/// the connection from `hyper::upgrade::on`, and speaks WebSocket on it by a crate such as
/// async-tungstenite, under a guard of its own: see
#[cfg_attr(feature = "hyper", doc = "[`FromHyper`](crate::hyper::FromHyper).")]
#[cfg_attr(not(feature = "hyper"), doc = "`hyper::FromHyper`.")]
#[derive(Clone)]
pub struct DrainLayer(Arc<Requests>);

/// Where the guards of requests come from.
struct Requests {
    observer: Observer,
    /// Where the layer was made: the place of a call would be within some library.
    place: &'static Location<'static>,
}

impl DrainLayer {
    /// Makes a layer whose requests `drain` counts.
    #[must_use]
    #[track_caller]
    pub fn new(drain: &Drain) -> Self {
        Self(Arc::new(Requests {
            observer: drain.observer(),
            place: Location::caller(),
        }))
    }

    pub(super) fn observer(&self) -> &Observer {
        &self.0.observer
    }

    /// Returns a guard for `request`, unless the drain is drained.
    pub(super) fn guard<B>(&self, request: &::http::Request<B>) -> Option<Guard> {
        let node = self.0.observer.node();
        let label = node.is_tracked().then(|| {
            let mut label = String::new();
            crate::http::label(request, &mut label);
            label.into()
        });
        Node::seat(node, self.0.place, label).map(Guard::new)
    }
}

impl<S> Layer<S> for DrainLayer {
    type Service = DrainService<S>;

    fn layer(&self, service: S) -> DrainService<S> {
        DrainService::new(service, self.clone())
    }
}

impl fmt::Debug for DrainLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainLayer")
            .field("phase", &self.observer().phase())
            .finish_non_exhaustive()
    }
}
