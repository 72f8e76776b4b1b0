use std::{fmt, panic::Location};

use tower_layer::Layer;

use super::service::DrainService;
use crate::{Drain, Guard, drain::node::Node, drain::sync::Arc};

/// Gives each request a guard until the last of its response's body, and tells peers to leave.
///
/// Where the drain tracks its guards, that of a request is named by its method and path. From lame duck on, answers to
/// HTTP/1 requests say `Connection: close` (Z3). It is no handle of the drain.
///
/// Once the drain is drained there are no guards any more; requests are served all the same, and told to leave.
/// To refuse them is for a service that knows why it should.
///
/// It counts and names, and must not be all that a process waits for before it exits: see the
/// [module](crate::tower). Under `hyper::Server`, whose connections count and are named already, it
/// counts each request once more, and is of use only for a part of a router.
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
#[derive(Clone)]
pub struct DrainLayer(Arc<Requests>);

/// Where the guards of requests come from.
struct Requests {
    core: Arc<Node>,
    /// Of the layer, since that of the call would be within some library.
    place: &'static Location<'static>,
}

impl DrainLayer {
    /// A layer whose requests `drain` counts.
    #[must_use]
    #[track_caller]
    pub fn new(drain: &Drain) -> Self {
        Self(Arc::new(Requests {
            core: Arc::clone(drain.node()),
            place: Location::caller(),
        }))
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.0.core
    }

    /// A guard for `request`, unless the drain is drained.
    pub(super) fn guard<B>(&self, request: &::http::Request<B>) -> Option<Guard> {
        let Requests { core, place } = &*self.0;
        let label = core.registry.is_some().then(|| {
            let mut label = String::new();
            crate::http::label(request, &mut label);
            label.into()
        });
        core.seat(place, label).map(Guard::new)
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
            .field("phase", &self.node().latch.phase())
            .finish_non_exhaustive()
    }
}
