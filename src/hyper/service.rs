use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::hyper::{
    Request, Response, Version,
    body::{Body as HttpBody, Frame, SizeHint},
    header::EXPECT,
    service::Service,
    upgrade::OnUpgrade,
};
use pin_project_lite::pin_project;

use super::{
    activity::{Activity, Unanswered},
    framing::Body,
    response_data::ResponseData,
};
use crate::http::{self, Answer, Keep, RequestKind, Respond, forward_body};

impl Activity {
    /// Wraps `service`: from lame duck on its answers tell peers to leave, and its requests are
    /// reported to this activity.
    ///
    /// If the activity was made in lame duck, the peer has connected in spite of that, and is told
    /// only when draining begins.
    pub fn service<S>(&self, service: S) -> DrainService<S> {
        DrainService {
            service,
            activity: self.clone(),
            peer: None,
        }
    }
}

/// A service whose answers say `Connection: close` once the connection is to end; returned by
/// [`Activity::service`].
#[derive(Clone, Debug)]
pub struct DrainService<S> {
    service: S,
    activity: Activity,
    peer: Option<SocketAddr>,
}

impl<S> DrainService<S> {
    /// Adds the peer's address to each request, as an extension of the type [`SocketAddr`].
    pub(super) fn peer(mut self, peer: Option<SocketAddr>) -> Self {
        self.peer = peer;
        self
    }
}

impl<S, Q, B> Service<Request<Q>> for DrainService<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone,
    Q: HttpBody,
    B: HttpBody,
{
    type Response = Response<Answer<B, Unanswered>>;
    type Error = S::Error;
    type Future = Respond<Call<S, Q>, Unanswered>;

    #[inline]
    fn call(&self, mut request: Request<Q>) -> Self::Future {
        let http2 = request.version() == Version::HTTP_2;
        let body = (!http2).then(|| body_of(request.body()));
        if !request.extensions().is_empty() && request.extensions().get::<OnUpgrade>().is_some() {
            self.activity.set_upgradable();
        }
        let has_body = matches!(body, Some(Body::Exact(_) | Body::Chunked));
        if has_body && self.activity.is_head_alone() && expects_continue(&request) {
            self.activity.set_expects_continue(true);
        }
        let unanswered = (self.activity).request(body, |label| http::label(&request, label));
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        if let Some(handlers) = self.activity.handlers() {
            let observer = handlers.observer().clone();
            request.extensions_mut().insert(observer);
        }
        let mut kind = RequestKind::of(&request);
        if self.activity.advertised().is_some() {
            kind = kind.kept_alive(&request);
        }
        if http2 {
            // Don't call the service in the connection's task, whose other streams a panic would
            // end (Z11).
            let call = Some((self.service.clone(), request));
            return Respond::new(Call::Begun { call }, kind, unanswered);
        }
        let response = self.service.call(request);
        Respond::new(Call::Called { response }, kind, unanswered)
    }
}

/// Returns whether the peer may wait for `100 Continue` before it sends the body.
fn expects_continue<Q>(request: &Request<Q>) -> bool {
    let expects = request.headers().get(EXPECT);
    expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

#[inline]
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
    /// A call of the user's service.
    #[project = CallProj]
    #[must_use = "futures do nothing unless polled"]
    pub enum Call<S, Q>
    where
        S: Service<Request<Q>>,
    {
        // Over HTTP/2, the service is called in the stream's own task.
        Begun { call: Option<(S, Request<Q>)> },
        Called { #[pin] response: S::Future },
    }
}

impl<S, Q> Future for Call<S, Q>
where
    S: Service<Request<Q>>,
{
    type Output = Result<S::Response, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let call = match self.as_mut().project() {
                CallProj::Called { response } => return response.poll(cx),
                CallProj::Begun { call } => call,
            };
            let Some((service, request)) = call.take() else {
                // The call has panicked.
                return Poll::Pending;
            };
            let response = service.call(request);
            self.set(Self::Called { response });
        }
    }
}

impl<S: Service<Request<Q>>, Q> fmt::Debug for Call<S, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("called", &matches!(self, Self::Called { .. }))
            .finish_non_exhaustive()
    }
}

impl<B: HttpBody> Keep<B> for Unanswered {
    #[inline]
    fn answer(&mut self, request: RequestKind, response: &mut Response<B>) {
        if self.activity().is_leaving() {
            request.say_close(response);
        } else if let Some(limit) = self.activity().advertised() {
            // hyper may close a connection whose request it has not read to its end.
            if !self.activity().is_in_body() {
                request.advertise(limit, response);
            }
        }
        if request.is_tunnel(response.status()) {
            self.upgraded();
        } else if request.is_close_delimited(response)
            && !response.body().is_end_stream()
            && response.body().size_hint().exact().is_none()
        {
            self.set_unended();
        }
    }
}

impl<B: HttpBody> HttpBody for Answer<B, Unanswered> {
    type Data = ResponseData<B::Data>;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        let kept = this.kept.as_ref();
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|data| {
                    ResponseData::new(data, kept.and_then(Unanswered::until_written))
                })
            })
        }))
    }

    forward_body!();
}
