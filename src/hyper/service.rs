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
    service::Service,
};
use pin_project_lite::pin_project;

use super::{
    activity::{Activity, Unanswered},
    framing::Body,
    unwritten::Unwritten,
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
    S: Service<Request<Q>, Response = Response<P>> + Clone,
    Q: HttpBody,
    P: HttpBody,
{
    type Response = Response<Answer<P>>;
    type Error = S::Error;
    type Future = Respond<S, Q>;

    fn call(&self, mut request: Request<Q>) -> Self::Future {
        let body = body_of(request.body());
        let http2 = request.version() == Version::HTTP_2;
        let unanswered = (self.activity).request(http2, body, |label| http::label(&request, label));
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        let asked = Asked::of(&request);
        let unanswered = Some(unanswered);
        if http2 {
            // This is the connection's task, whose other streams a panic would end (Z11).
            let call = Some((self.service.clone(), request));
            return Respond {
                stage: Stage::Begun { call },
                asked,
                unanswered,
            };
        }
        Respond {
            stage: Stage::Called {
                response: self.service.call(request),
            },
            asked,
            unanswered,
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
    #[must_use = "futures do nothing unless polled"]
    pub struct Respond<S, Q>
    where
        S: Service<Request<Q>>,
    {
        #[pin]
        stage: Stage<S, Q>,
        asked: Asked,
        unanswered: Option<Unanswered>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<S, Q>
    where
        S: Service<Request<Q>>,
    {
        // Of HTTP/2: the service is called in the stream's own task.
        Begun { call: Option<(S, Request<Q>)> },
        Called { #[pin] response: S::Future },
    }
}

impl<S, Q, P> Future for Respond<S, Q>
where
    S: Service<Request<Q>, Response = Response<P>>,
    P: HttpBody,
{
    type Output = Result<Response<Answer<P>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let StageProj::Begun { call } = this.stage.as_mut().project() {
            let Some((service, request)) = call.take() else {
                // The call has panicked.
                return Poll::Pending;
            };
            let response = service.call(request);
            this.stage.set(Stage::Called { response });
        }
        let StageProj::Called { response } = this.stage.project() else {
            return Poll::Pending;
        };
        let mut response = ready!(response.poll(cx))?;
        let mut unanswered = this.unanswered.take();
        if let Some(unanswered) = &mut unanswered {
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

impl<S: Service<Request<Q>>, Q> fmt::Debug for Respond<S, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Respond")
            .field("called", &matches!(self.stage, Stage::Called { .. }))
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The body of a [`DrainService`]'s answer: unanswered until it is dropped, and of HTTP/2 until
    /// its last bytes are written.
    #[derive(Debug)]
    pub struct Answer<P> {
        #[pin]
        body: P,
        unanswered: Option<Unanswered>,
    }
}

impl<P: HttpBody> HttpBody for Answer<P> {
    type Data = Unwritten<P::Data>;
    type Error = P::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, P::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        let unanswered = this.unanswered.as_ref();
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|data| {
                    Unwritten::new(data, unanswered.and_then(Unanswered::until_written))
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
