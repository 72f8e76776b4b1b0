//! What every HTTP adapter does with a request and its answer: name the one, and let the other tell the peer to leave.

use std::borrow::Cow;

use ::http::{
    Request, Response, StatusCode, Version,
    header::{CONNECTION, HeaderValue},
};

use crate::{Phase, tree::Core};

/// The method and path of a request, for guards; made only where they are tracked.
pub(crate) fn label<B>(core: &Core, request: &Request<B>) -> Option<Cow<'static, str>> {
    let tracked = core.registry.is_some();
    tracked.then(|| format!("{} {}", request.method(), request.uri().path()).into())
}

/// Makes the answer to a request of `version` say `Connection: close`, from lame duck on (Z3).
///
/// HTTP/2 has no such header, and an upgraded connection is not HTTP's to close.
pub(crate) fn farewell<B>(phase: Phase, version: Version, response: &mut Response<B>) {
    if phase >= Phase::LameDuck
        && version < Version::HTTP_2
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
