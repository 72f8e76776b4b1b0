//! What every HTTP adapter does with a request and its answer: name the one, and let the other tell the peer to leave.

use ::http::{
    Request, Response, StatusCode, Version,
    header::{CONNECTION, HeaderValue},
};

use crate::Phase;

/// Writes what a guard is called after its request: without the query, which may hold what does not belong into a log.
pub(crate) fn label<B>(request: &Request<B>, label: &mut String) {
    label.push_str(request.method().as_str());
    label.push(' ');
    label.push_str(request.uri().path());
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
