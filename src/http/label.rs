use ::http::Request;

/// Writes what a guard is called after its request: the method and the path. The query is left out,
/// since it may hold what does not belong in a log.
pub(crate) fn label<B>(request: &Request<B>, label: &mut String) {
    label.push_str(request.method().as_str());
    label.push(' ');
    label.push_str(request.uri().path());
}
