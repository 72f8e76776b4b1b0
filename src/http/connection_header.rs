#[cfg(feature = "hyper")]
use ::http::header::CONTENT_LENGTH;
use ::http::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, HeaderName, HeaderValue},
};

#[cfg(any(feature = "tower", test))]
use crate::Phase;

/// What the head of an answer depends on in its request.
#[derive(Clone, Copy, Debug)]
pub struct RequestKind {
    version: Version,
    connect: bool,
    #[cfg(feature = "hyper")]
    head: bool,
    /// Set if the peer keeps the connection after the answer; looked up by `kept_alive`.
    #[cfg(feature = "hyper")]
    keep_alive: bool,
}

impl RequestKind {
    #[inline]
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self {
            version: request.version(),
            connect: *request.method() == Method::CONNECT,
            #[cfg(feature = "hyper")]
            head: *request.method() == Method::HEAD,
            #[cfg(feature = "hyper")]
            keep_alive: false,
        }
    }

    /// Notes whether the peer keeps the connection after the answer.
    #[cfg(feature = "hyper")]
    pub(crate) fn kept_alive<B>(mut self, request: &Request<B>) -> Self {
        let says = |wanted: &str| {
            options(request.headers()).any(|option| option.eq_ignore_ascii_case(wanted.as_bytes()))
        };
        self.keep_alive = match self.version {
            Version::HTTP_11 => !says("close"),
            Version::HTTP_10 => says("keep-alive") && !says("close"),
            _ => false,
        };
        self
    }

    /// Advertises how long the connection may be idle, unless the handler has decided on the
    /// connection itself.
    #[cfg(feature = "hyper")]
    #[cold]
    pub(crate) fn advertise<B>(self, limit: &HeaderValue, response: &mut Response<B>) {
        let decided = [CONNECTION, KEEP_ALIVE];
        if self.keep_alive
            && !response.status().is_informational()
            && !self.is_tunnel(response.status())
            && !decided
                .iter()
                .any(|name| response.headers().contains_key(name))
        {
            let headers = response.headers_mut();
            // `Connection` must list `Keep-Alive`, which is for this hop alone (RFC 9110, 7.6.1).
            headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
            headers.insert(KEEP_ALIVE, limit.clone());
        }
    }

    /// Adds `Connection: close` to the answer from lame duck on.
    #[cfg(any(feature = "tower", test))]
    #[inline]
    pub(crate) fn add_close<B>(self, phase: Phase, response: &mut Response<B>) {
        if phase >= Phase::LameDuck {
            self.say_close(response);
        }
    }

    /// Adds `Connection: close` to the answer (Z3), where HTTP allows it.
    ///
    /// HTTP/2 has no such header, and a connection that becomes a tunnel is not HTTP's to close.
    pub(crate) fn say_close<B>(self, response: &mut Response<B>) {
        if self.version >= Version::HTTP_2
            || response.status().is_informational()
            || self.is_tunnel(response.status())
        {
            return;
        }
        if self.version == Version::HTTP_10 {
            // If the peer has asked for `keep-alive`, hyper adds it to any answer that claims to be
            // of HTTP/1.1.
            *response.version_mut() = Version::HTTP_10;
        }
        add_option_close(response.headers_mut());
    }

    /// Returns whether the answer's body, if its length is unknown, ends only with the connection:
    /// HTTP/1.0 has no chunks, and the answer lacks a `Content-Length`.
    #[cfg(feature = "hyper")]
    #[inline]
    pub(crate) fn is_close_delimited<B>(self, response: &Response<B>) -> bool {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        // hyper speaks the lower of both versions.
        self.version < Version::HTTP_2
            && self.version.min(response.version()) == Version::HTTP_10
            && !response.headers().contains_key(CONTENT_LENGTH)
            && !self.head
            && !self.is_tunnel(response.status())
            && !bodiless.contains(&response.status())
    }

    /// Returns whether an answer of this status ends HTTP on the connection, or on its stream of
    /// HTTP/2.
    #[inline]
    pub(crate) fn is_tunnel(self, status: StatusCode) -> bool {
        status == StatusCode::SWITCHING_PROTOCOLS || self.connect && status.is_success()
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(CONNECTION).iter();
    values
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// Adds the option `close` to those that the answer has (RFC 9110, 7.6.1), all but `keep-alive`,
/// which contradicts it.
fn add_option_close(headers: &mut HeaderMap) {
    const CLOSE: HeaderValue = HeaderValue::from_static("close");
    let mut value = Vec::new();
    for option in options(headers) {
        if option.eq_ignore_ascii_case(KEEP_ALIVE.as_str().as_bytes()) {
            continue;
        }
        if !option.is_empty() && !option.eq_ignore_ascii_case(CLOSE.as_bytes()) {
            value.extend_from_slice(option);
            value.extend_from_slice(b", ");
        }
    }
    value.extend_from_slice(CLOSE.as_bytes());
    // Parts of valid values make a valid value.
    let value = HeaderValue::from_bytes(&value).unwrap_or(CLOSE);
    headers.insert(CONNECTION, value);
    // It holds the parameters of the option that was removed.
    headers.remove(KEEP_ALIVE);
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderMap, Method, Request, Response, StatusCode, Version, header::CONNECTION};

    use super::RequestKind;
    use crate::Phase;

    fn told(request: (&str, Version), status: u16, connection: &[&str]) -> (Version, HeaderMap) {
        let request = Request::builder()
            .method(request.0)
            .uri("/")
            .version(request.1)
            .body(())
            .unwrap();
        let mut response = Response::builder()
            .status(status)
            .header("keep-alive", "timeout=5");
        for value in connection {
            response = response.header(CONNECTION, *value);
        }
        let mut response = response.body(()).unwrap();
        RequestKind::of(&request).add_close(Phase::Draining, &mut response);
        (response.version(), response.into_parts().0.headers)
    }

    fn connection(request: (&str, Version), status: u16, before: &[&str]) -> Vec<String> {
        let (_, headers) = told(request, status, before);
        let values = headers.get_all(CONNECTION).iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }

    const GET: (&str, Version) = ("GET", Version::HTTP_11);
    const CONNECT: (&str, Version) = ("CONNECT", Version::HTTP_11);

    /// Z3: options that a handler has set stay, all but the one that contradicts ours.
    #[test]
    fn close_is_added_to_the_options_of_the_handler() {
        let close = ["close"];
        assert_eq!(connection(GET, 200, &[]), close);
        assert_eq!(connection(GET, 200, &["keep-alive"]), close);
        assert_eq!(
            connection(GET, 200, &["Close", " Keep-Alive ,, close"]),
            close
        );
        assert_eq!(connection(GET, 426, &["Upgrade"]), ["Upgrade, close"]);
        assert_eq!(
            connection(GET, 200, &["keep-alive, te", "x"]),
            ["te, x, close"]
        );
        assert!(!told(GET, 200, &["keep-alive"]).1.contains_key("keep-alive"));
    }

    /// Z3: neither an interim answer nor one that makes the connection a tunnel says so.
    #[test]
    fn interim_answers_and_tunnels_are_left_alone() {
        for status in [100, 101, 103] {
            assert_eq!(connection(GET, status, &["Upgrade"]), ["Upgrade"]);
        }
        assert_eq!(connection(CONNECT, 200, &[]), [""; 0]);
        assert_eq!(connection(CONNECT, 299, &["x"]), ["x"]);
        assert_eq!(connection(CONNECT, 407, &[]), ["close"]);
        assert_eq!(connection(("GET", Version::HTTP_2), 200, &[]), [""; 0]);
    }

    /// Z3: hyper adds `keep-alive` to an answer to HTTP/1.0 that claims to be of HTTP/1.1.
    #[test]
    fn an_answer_to_http10_is_of_http10() {
        assert_eq!(
            told(("GET", Version::HTTP_10), 200, &[]).0,
            Version::HTTP_10
        );
        assert_eq!(told(GET, 200, &[]).0, Version::HTTP_11);
    }

    /// Z8: which answers of unknown length would look whole if they were cut.
    #[cfg(feature = "hyper")]
    #[test]
    fn an_answer_of_http10_without_a_length_ends_with_the_connection() {
        let ends = |request: (&str, Version), version: Version, status: u16, length: bool| {
            let request = Request::builder()
                .method(request.0)
                .uri("/")
                .version(request.1)
                .body(())
                .unwrap();
            let mut response = Response::builder().version(version).status(status);
            if length {
                response = response.header("content-length", "5");
            }
            RequestKind::of(&request).is_close_delimited(&response.body(()).unwrap())
        };
        let (http10, http11) = (Version::HTTP_10, Version::HTTP_11);
        assert!(ends(("GET", http10), http11, 200, false));
        assert!(ends(("GET", http11), http10, 200, false));
        assert!(!ends(("GET", http11), http11, 200, false));
        assert!(!ends(("GET", http10), http11, 200, true));
        assert!(!ends(("HEAD", http10), http11, 200, false));
        assert!(!ends(("CONNECT", http10), http11, 200, false));
        assert!(!ends(("GET", http10), http11, 204, false));
        assert!(!ends(("GET", Version::HTTP_2), http10, 200, false));
    }

    /// An idle limit is advertised where the connection is kept, and only if the handler has not
    /// decided on it.
    #[cfg(feature = "hyper")]
    #[test]
    fn an_idle_limit_is_advertised_where_the_connection_is_kept() {
        let advertised = |version: Version, asked: &str, status: u16, answered: &str| {
            let mut request = Request::builder().version(version);
            if !asked.is_empty() {
                request = request.header(CONNECTION, asked);
            }
            let request = request.body(()).unwrap();
            let mut response = Response::builder().status(status);
            if !answered.is_empty() {
                response = response.header(CONNECTION, answered);
            }
            let mut response = response.body(()).unwrap();
            let kind = RequestKind::of(&request).kept_alive(&request);
            kind.advertise(&"timeout=7".parse().unwrap(), &mut response);
            let limit = response.headers().get("keep-alive");
            let says = response.headers().get(CONNECTION);
            assert!(limit.is_none() || says.unwrap() == "keep-alive");
            limit.map(|limit| limit.to_str().unwrap().to_owned())
        };
        let (http10, http11) = (Version::HTTP_10, Version::HTTP_11);
        let limit = Some("timeout=7".to_owned());
        assert_eq!(advertised(http11, "", 200, ""), limit);
        assert_eq!(advertised(http11, "te, Keep-Alive", 404, ""), limit);
        assert_eq!(advertised(http10, "keep-alive", 200, ""), limit);
        assert_eq!(advertised(http10, "", 200, ""), None);
        assert_eq!(advertised(http11, "x, Close", 200, ""), None);
        assert_eq!(advertised(http11, "", 200, "close"), None);
        assert_eq!(advertised(http11, "", 426, "upgrade"), None);
        assert_eq!(advertised(http11, "upgrade", 101, ""), None);
        assert_eq!(advertised(Version::HTTP_2, "", 200, ""), None);
    }

    /// Z3: while running, no answer says so.
    #[test]
    fn no_answer_says_close_while_running() {
        let request = Request::builder().method(Method::GET).body(()).unwrap();
        for (phase, says) in [(Phase::Running, false), (Phase::LameDuck, true)] {
            let mut response = Response::builder().status(StatusCode::OK).body(()).unwrap();
            RequestKind::of(&request).add_close(phase, &mut response);
            assert_eq!(response.headers().contains_key(CONNECTION), says);
        }
    }
}
