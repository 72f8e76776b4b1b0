use std::task::{Context, Poll};

use ::http::{Request, Response};
use tower_service::Service;

use super::{body::GuardedBody, future::GuardedResponse, layer::DrainLayer};
use crate::http::Asked;

/// A service whose requests hold a guard; made by [`DrainLayer`].
#[derive(Clone, Debug)]
pub struct DrainService<S> {
    service: S,
    layer: DrainLayer,
}

impl<S> DrainService<S> {
    pub(super) fn new(service: S, layer: DrainLayer) -> Self {
        Self { service, layer }
    }
}

impl<S, Q, P> Service<Request<Q>> for DrainService<S>
where
    S: Service<Request<Q>, Response = Response<P>>,
{
    type Response = Response<GuardedBody<P>>;
    type Error = S::Error;
    type Future = GuardedResponse<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let guard = self.layer.guard(&request);
        let asked = Asked::of(&request);
        let response = self.service.call(request);
        GuardedResponse::new(response, guard, asked, self.layer.node())
    }
}
