use async_drain::{Drain, Phase};
use tide::{Body, Middleware, Next, Request, StatusCode};

use crate::header;

/// Counts and names the requests of a tide application that keeps its own listener.
///
/// Each request holds a guard until the last byte of its answer has been handed to async-h1, and
/// from lame duck on, all answers say `Connection: close`. A middleware can't do more, and that is
/// not enough to stop without loss, since it doesn't see connections:
///
///  - tide accepts until its listener is dropped, which resets the connections that are queued;
///  - idle connections, and those that have sent half a head, are closed without notice when the
///    process ends;
///  - bytes of an answer that the kernel has not delivered by then may be lost.
///
/// Where that matters, use a [`DrainListener`](crate::DrainListener), which needs no middleware.
///
/// ```
/// # use async_drain::Drain;
/// use async_drain_tide::DrainMiddleware;
///
/// # let drain = Drain::new();
/// let mut app = tide::new();
/// app.with(DrainMiddleware::new(&drain));
/// ```
#[derive(Clone, Debug)]
pub struct DrainMiddleware {
    drain: Drain,
}

impl DrainMiddleware {
    /// Creates a middleware whose requests `drain` waits for.
    #[must_use]
    pub fn new(drain: &Drain) -> Self {
        Self {
            drain: drain.clone(),
        }
    }
}

#[tide::utils::async_trait]
impl<State: Clone + Send + Sync + 'static> Middleware<State> for DrainMiddleware {
    async fn handle(&self, request: Request<State>, next: Next<'_, State>) -> tide::Result {
        // Once the drain is drained there are no guards, but a request is answered as long as the
        // process runs.
        let guard =
            self.drain.guard().ok().map(|guard| {
                guard.labeled(format!("{} {}", request.method(), request.url().path()))
            });
        let method = request.method();
        let mut response = next.run(request).await;
        if response.status() == StatusCode::SwitchingProtocols {
            return Ok(response);
        }
        if self.drain.phase() >= Phase::LameDuck && header::may_close(method, response.status()) {
            header::close(response.as_mut());
        }
        if let Some(guard) = guard {
            let body = response.take_body();
            let (length, mime) = (body.len(), body.mime().clone());
            let mut body = Body::from_reader(guard.wrap(body), length);
            body.set_mime(mime);
            response.set_body(body);
        }
        Ok(response)
    }
}
