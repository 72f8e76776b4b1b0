use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Response;
use pin_project_lite::pin_project;

use super::{Answer, RequestKind};

/// What is kept from a request until its answer has ended.
pub trait Keep<B> {
    /// Looks at the answer before its head is written, and tells the peer to leave in it.
    fn answer(&mut self, request: RequestKind, response: &mut Response<B>);
}

pin_project! {
    /// The future of a response, which tells the peer to leave from lame duck on.
    ///
    /// It keeps its request in flight and hands that on to the [`Answer`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Respond<F, K> {
        #[pin]
        response: F,
        request: RequestKind,
        // Handed on to the body.
        kept: Option<K>,
    }
}

impl<F, K> Respond<F, K> {
    #[inline]
    pub(crate) fn new(response: F, request: RequestKind, kept: K) -> Self {
        Self {
            response,
            request,
            kept: Some(kept),
        }
    }
}

impl<F, K, B, E> Future for Respond<F, K>
where
    F: Future<Output = Result<Response<B>, E>>,
    K: Keep<B>,
{
    type Output = Result<Response<Answer<B, K>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        let mut kept = this.kept.take();
        if let Some(kept) = &mut kept {
            kept.answer(*this.request, &mut response);
        }
        Poll::Ready(Ok(response.map(|body| Answer::new(body, kept))))
    }
}

impl<F, K> fmt::Debug for Respond<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Respond")
            .field("answered", &self.kept.is_none())
            .finish_non_exhaustive()
    }
}
