use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Response;
use pin_project_lite::pin_project;

use super::body::GuardedBody;
use crate::{Guard, drain::node::Node, drain::sync::Arc, http::Asked};

pin_project! {
    /// A response to come, which holds the guard of its request; made by [`DrainService`](super::DrainService).
    #[must_use = "futures do nothing unless polled"]
    pub struct GuardedResponse<F> {
        #[pin]
        response: F,
        // Handed on to the body.
        guard: Option<Guard>,
        asked: Asked,
        core: Arc<Node>,
    }
}

impl<F> GuardedResponse<F> {
    pub(super) fn new(response: F, guard: Option<Guard>, asked: Asked, core: &Arc<Node>) -> Self {
        Self {
            response,
            guard,
            asked,
            core: Arc::clone(core),
        }
    }
}

impl<F, P, E> Future for GuardedResponse<F>
where
    F: Future<Output = Result<Response<P>, E>>,
{
    type Output = Result<Response<GuardedBody<P>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        this.asked.farewell(this.core.latch.phase(), &mut response);
        let guard = this.guard.take();
        Poll::Ready(Ok(response.map(|body| GuardedBody::new(body, guard))))
    }
}

impl<F> fmt::Debug for GuardedResponse<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResponse")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}
