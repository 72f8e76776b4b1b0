use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::hyper::{
    Request, Response,
    body::{Body as HttpBody, Frame, SizeHint},
    service::Service,
};
use pin_project_lite::pin_project;

use super::{
    activity::{Activity, Unanswered},
    framing::Body,
};
use crate::http::{self, Asked};

impl Activity {
    /// Makes `service` tell peers to leave from lame duck on (Z3), and lets this activity know of its requests.
    pub fn service<S>(&self, service: S) -> DrainService<S> {
        DrainService {
            service,
            activity: self.clone(),
            peer: None,
        }
    }
}

/// A service whose answers say `Connection: close` from lame duck on; made by [`Activity::service`].
#[derive(Clone, Debug)]
pub struct DrainService<S> {
    service: S,
    activity: Activity,
    peer: Option<SocketAddr>,
}

impl<S> DrainService<S> {
    /// Gives requests the peer's address, as an extension of the type [`SocketAddr`].
    #[must_use]
    pub fn peer(mut self, peer: Option<SocketAddr>) -> Self {
        self.peer = peer;
        self
    }
}

impl<S, Q, P> Service<Request<Q>> for DrainService<S>
where
    S: Service<Request<Q>, Response = Response<P>>,
    Q: HttpBody,
    P: HttpBody,
{
    type Response = Response<Answer<P>>;
    type Error = S::Error;
    type Future = Respond<S::Future>;

    fn call(&self, mut request: Request<Q>) -> Self::Future {
        let body = body_of(request.body());
        let unanswered = self
            .activity
            .request(body, |label| http::label(&request, label));
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        Respond {
            asked: Asked::of(&request),
            response: self.service.call(request),
            unanswered: Some(unanswered),
        }
    }
}

fn body_of(body: &impl HttpBody) -> Body {
    if body.is_end_stream() {
        return Body::None;
    }
    match body.size_hint().exact() {
        Some(length) => Body::Exact(length),
        None => Body::Chunked,
    }
}

pin_project! {
    /// The answer of a [`DrainService`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Respond<F> {
        #[pin]
        response: F,
        asked: Asked,
        unanswered: Option<Unanswered>,
    }
}

impl<F, P, E> Future for Respond<F>
where
    F: Future<Output = Result<Response<P>, E>>,
    P: HttpBody,
{
    type Output = Result<Response<Answer<P>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        let unanswered = this.unanswered.take();
        if let Some(unanswered) = &unanswered {
            this.asked.farewell(unanswered.phase(), &mut response);
            if this.asked.is_tunnel(response.status()) {
                unanswered.upgraded();
            } else if this.asked.is_close_delimited(&response)
                && !response.body().is_end_stream()
                && response.body().size_hint().exact().is_none()
            {
                unanswered.set_unended();
            }
        }
        Poll::Ready(Ok(response.map(|body| Answer { body, unanswered })))
    }
}

pin_project! {
    /// The body of a [`DrainService`]'s answer: unanswered until it is dropped.
    #[derive(Debug)]
    pub struct Answer<P> {
        #[pin]
        body: P,
        unanswered: Option<Unanswered>,
    }
}

impl<P: HttpBody> HttpBody for Answer<P> {
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
