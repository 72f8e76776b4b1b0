use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::Guard;

pin_project! {
    /// The body of a response, which holds the guard of its request until it is dropped; made by
    /// [`DrainService`](super::DrainService).
    #[derive(Debug)]
    pub struct GuardedBody<P> {
        // Before the guard, to be dropped before it.
        #[pin]
        body: P,
        guard: Option<Guard>,
    }
}

impl<P> GuardedBody<P> {
    pub(super) fn new(body: P, guard: Option<Guard>) -> Self {
        Self { body, guard }
    }
}

impl<P: Body> Body for GuardedBody<P> {
    type Data = P::Data;
    type Error = P::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<P::Data>, P::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
