use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::http::{
    Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};
use ::hyper::{
    body::{Body, Frame, SizeHint},
    service::Service,
};
use pin_project_lite::pin_project;

use crate::{Phase, Readiness, http::RequestKind};

/// Answers readiness and liveness probes, and passes all other requests on to a service.
///
/// A GET or HEAD of `/readyz` is answered with 200 if the [`Readiness`] is ready, and otherwise
/// with 503 and a line that says why. `/livez` is answered with 200 for as long as the server
/// answers at all: a program that drains is alive, and must not be restarted.
///
/// ```no_run
/// # use async_drain::{Drain, hyper::{Probes, Server}};
/// # use hyper::{Request, Response, body::Incoming, service::service_fn};
/// # async fn hello(_: Request<Incoming>) -> Result<Response<String>, std::convert::Infallible> {
/// #     Ok(Response::default()) }
/// # async fn serve(drain: Drain) -> std::io::Result<()> {
/// # let listener = smol::Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0))?;
/// let probes = Probes::new(drain.readiness(), service_fn(hello)).live_path("/healthz");
/// Server::new(&drain, |task| smol::spawn(task).detach())
///     .serve(listener, probes)
///     .await
/// # }
/// ```
///
/// # What a probe delays
///
/// Nothing. It is answered at once, and its connection is in flight for no longer than that. From
/// lame duck on, its answer closes the connection, so that one that a prober keeps open is not
/// waited for. Once draining has begun, new connections are refused, which a prober takes for
/// unready. To answer probes until the exit, serve them on a listener with a drain of its own, as
/// the example `admin` does.
#[derive(Clone, Debug)]
pub struct Probes<S> {
    service: S,
    settings: Arc<Settings>,
}

/// What all clones share: a server clones its service for each connection.
#[derive(Clone, Debug)]
struct Settings {
    readiness: Readiness,
    ready_path: Cow<'static, str>,
    live_path: Cow<'static, str>,
}

impl<S> Probes<S> {
    /// Wraps `service`.
    pub fn new(readiness: Readiness, service: S) -> Self {
        Self {
            service,
            settings: Arc::new(Settings {
                readiness,
                ready_path: "/readyz".into(),
                live_path: "/livez".into(),
            }),
        }
    }

    /// Sets the path of the readiness probe, `/readyz` by default. A slash that is missing at its
    /// beginning is added.
    #[must_use]
    pub fn ready_path(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.settings).ready_path = absolute(path.into());
        self
    }

    /// Sets the path of the liveness probe, `/livez` by default. A slash that is missing at its
    /// beginning is added.
    #[must_use]
    pub fn live_path(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.settings).live_path = absolute(path.into());
        self
    }
}

/// Returns a path that a request can have.
fn absolute(path: Cow<'static, str>) -> Cow<'static, str> {
    if path.starts_with('/') {
        path
    } else {
        format!("/{path}").into()
    }
}

impl Settings {
    /// Returns the answer if the request is a probe.
    fn answer<Q>(&self, request: &Request<Q>) -> Option<Response<String>> {
        let path = request.uri().path();
        let (status, text) = if path == self.live_path {
            (StatusCode::OK, "alive\n".to_owned())
        } else if path == self.ready_path {
            let reasons = self.readiness.reasons();
            if reasons.is_empty() {
                (StatusCode::OK, "ready\n".to_owned())
            } else {
                let text = format!("not ready: {}\n", reasons.join(", "));
                (StatusCode::SERVICE_UNAVAILABLE, text)
            }
        } else {
            return None;
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let length = text.len();
        let is_head = request.method() == Method::HEAD;
        let body = if is_head { String::new() } else { text };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(CONTENT_TYPE, plain);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if is_head {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        if self.readiness.phase() >= Phase::LameDuck {
            RequestKind::of(request).say_close(&mut response);
        }
        Some(response)
    }
}

impl<S, Q, B> Service<Request<Q>> for Probes<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Body<Data: From<String>>,
{
    type Response = Response<ProbedBody<B>>;
    type Error = S::Error;
    type Future = Probed<S::Future>;

    fn call(&self, request: Request<Q>) -> Self::Future {
        match self.settings.answer(&request) {
            Some(answer) => Probed::Probe {
                answer: Some(answer),
            },
            None => Probed::Passed {
                response: self.service.call(request),
            },
        }
    }
}

pin_project! {
    /// The answer of [`Probes`], or of the service that it wraps.
    #[project = ProbedProj]
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub enum Probed<F> {
        Probe { answer: Option<Response<String>> },
        Passed { #[pin] response: F },
    }
}

impl<F, B, E> Future for Probed<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ProbedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match self.project() {
            ProbedProj::Probe { answer } => answer
                .take()
                .expect("a future is not polled after it has completed")
                .map(|text| ProbedBody::Text { text }),
            ProbedProj::Passed { response } => {
                ready!(response.poll(cx))?.map(|body| ProbedBody::Passed { body })
            }
        }))
    }
}

pin_project! {
    /// The body of the answer to a probe, or of the service's.
    #[project = ProbedBodyProj]
    #[derive(Debug)]
    pub enum ProbedBody<B> {
        // Empty once it was read.
        Text { text: String },
        Passed { #[pin] body: B },
    }
}

impl<B: Body<Data: From<String>>> Body for ProbedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project() {
            ProbedBodyProj::Text { text } if text.is_empty() => Poll::Ready(None),
            ProbedBodyProj::Text { text } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(text).into()))))
            }
            ProbedBodyProj::Passed { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text { text } => text.is_empty(),
            Self::Passed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text { text } => SizeHint::with_exact(text.len() as u64),
            Self::Passed { body } => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use ::hyper::service::service_fn;
    use futures_lite::future::block_on;

    use super::*;
    use crate::Drain;

    #[test]
    fn a_path_without_a_slash_is_found() {
        let service = service_fn(|_: Request<String>| async {
            Ok::<_, Infallible>(Response::new("not a probe".to_owned()))
        });
        let probes = Probes::new(Drain::new().readiness(), service)
            .ready_path("ready")
            .live_path("/alive");
        for (path, answer) in [("/ready", "not ready: drained\n"), ("/alive", "alive\n")] {
            let mut request = Request::new(String::new());
            *request.uri_mut() = path.parse().unwrap();
            let response = block_on(probes.call(request)).unwrap();
            assert!(
                matches!(response.body(), ProbedBody::Text { text } if text == answer),
                "{path}"
            );
        }
    }

    /// hyper sends a body over HTTP/2 if there is one, which is malformed after HEAD.
    #[test]
    fn the_answer_to_head_has_no_body() {
        let service = service_fn(|_: Request<String>| async {
            Ok::<_, Infallible>(Response::new("not a probe".to_owned()))
        });
        let drain = Drain::new();
        let probes = Probes::new(drain.readiness(), service);
        for (path, length) in [("/readyz", "6"), ("/livez", "6")] {
            let mut request = Request::new(String::new());
            *request.method_mut() = Method::HEAD;
            *request.uri_mut() = path.parse().unwrap();
            let answer = block_on(probes.call(request)).unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.headers()[CONTENT_LENGTH], length);
            assert!(answer.body().is_end_stream());
        }
    }
}
