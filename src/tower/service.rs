use std::{
    pin::Pin,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use super::layer::DrainLayer;
use crate::{
    Guard, Observer,
    http::{Answer, Keep, RequestKind, Respond, forward_body},
};

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

impl<S, Q, B> Service<Request<Q>> for DrainService<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
{
    type Response = Response<Answer<B, Counted>>;
    type Error = S::Error;
    type Future = Respond<S::Future, Counted>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let counted = Counted {
            _guard: self.layer.guard(&request),
            observer: self.layer.observer().clone(),
        };
        let kind = RequestKind::of(&request);
        Respond::new(self.service.call(request), kind, counted)
    }
}

/// A request that holds a guard.
#[derive(Debug)]
pub struct Counted {
    /// `None` if the drain was already drained when the request came.
    _guard: Option<Guard>,
    observer: Observer,
}

impl<B> Keep<B> for Counted {
    fn answer(&mut self, request: RequestKind, response: &mut Response<B>) {
        request.add_close(self.observer.phase(), response);
    }
}

impl<B: Body> Body for Answer<B, Counted> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    forward_body!();
}
