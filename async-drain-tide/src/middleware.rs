use async_drain::{Drain, DrainExt, Phase};
use tide::{Body, Middleware, Next, Request, StatusCode};

use crate::header;

/// Counts and names requests and tells peers to leave, for those who keep `app.listen(..)`.
///
/// Each request holds a guard until the last byte of its answer has been handed to async-h1, and from lame duck on
/// answers say `Connection: close`. That is all that a middleware can do, and it is not enough to stop without loss: it
/// sees no connection. So tide goes on accepting until its listener is dropped, and then resets whom the kernel has
/// queued; an idle connection is closed without a word when the process ends; half a head counts for nothing; and what
/// the kernel has not delivered may be thrown away. Where that matters, listen to a
/// [`DrainListener`](crate::DrainListener) and leave this out, or keep it for the numbers.
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
    /// A middleware whose requests `drain` waits for.
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
        // A request that comes when all is drained is answered nevertheless, as long as there is a process.
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
            let mut body = Body::from_reader(body.guarded(guard), length);
            body.set_mime(mime);
            response.set_body(body);
        }
        Ok(response)
    }
}
