use ::hyper::{
    Request, Response,
    body::{Body, Incoming},
    service::Service,
};

use super::{
    activity::Unanswered, connection::Connection, graceful::BoxError, handshake::Handshake,
    service::Call,
};
use crate::http::Respond;

/// A service that [`Server`](super::Server) can call.
///
/// It is implemented for all services of hyper's that are `Clone` and `'static`, such as
/// `service_fn(handler)` if the closure is `Clone`. To use a service of tower's, such as axum's
/// `Router`, wrap it in hyper-util's `TowerToHyperService::new(router)`.
#[diagnostic::on_unimplemented(
    message = "the server can't call `{Self}`",
    label = "not a service of hyper's that is `Clone` and `'static`",
    note = "an axum `Router`, or another service of tower's: wrap it, \
            `hyper_util::service::TowerToHyperService::new(router)`",
    note = "a function: `hyper::service::service_fn(handler)`, whose closure captures only what is `Clone`",
    note = "a service of your own: derive `Clone` for it, or pass it in an `Arc`"
)]
pub trait HttpService:
    Service<
        Request<Incoming>,
        Response = Response<<Self as HttpService>::ResponseBody>,
        Future: 'static,
        Error: Into<BoxError>,
    > + Clone
    + 'static
{
    /// The body of its answers.
    type ResponseBody: Body<Error: Into<BoxError>> + 'static;

    // These two shorten error messages: where `Self` is not a service, the bounds of `serve` that
    // name them fail silently, and the compiler prints only the message above.
    #[doc(hidden)]
    type Respond;
    #[doc(hidden)]
    type Task<H: Handshake<C>, C, E: 'static>;
}

#[diagnostic::do_not_recommend]
impl<S, B> HttpService for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Future: 'static, Error: Into<BoxError>>
        + Clone
        + 'static,
    B: Body<Error: Into<BoxError>> + 'static,
{
    type ResponseBody = B;
    type Respond = Respond<Call<S, Incoming>, Unanswered>;
    type Task<H: Handshake<C>, C, E: 'static> = Connection<H, C, S, E>;
}
