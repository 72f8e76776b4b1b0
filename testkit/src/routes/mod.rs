//! The routes of the HTTP servers, whatever serves them; [`answer`] is for hyper.

#[cfg(feature = "hyper")]
pub mod answer;
pub mod events;
#[cfg(feature = "hyper")]
pub mod tunnel;
#[cfg(feature = "hyper")]
pub mod websocket;

use std::time::Duration;

/// A frame is allocated as a whole.
const MOST_IN_ONE_FRAME: usize = 256 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`
    Hello,
    /// `/sleep/MS`
    Sleep(Duration),
    /// `/stream/CHUNKS/MS`: so many chunks, each after a pause.
    Stream(usize, Duration),
    /// `/bytes/N`, in frames of 64 KB.
    Bytes(u64),
    /// `/full/N`, in one frame.
    Full(usize),
    /// `/echo`: the body back.
    Echo,
    /// `/reject`: 401 at once, the body unread.
    Reject,
    /// `/accepted`: 202 at once, and then the body is read under a guard of its own.
    Accepted,
    /// `/panic`
    Panic,
    /// `/ws`: a WebSocket that echoes.
    WebSocket,
    /// `/events` or `/events/MS`: server-sent events without end; the last one says that the server
    /// drains, and until when.
    Events(Duration),
    /// `/block/MS`: blocks the thread, as no handler should.
    Block(Duration),
    /// `/begin`: the handler begins the drain itself.
    Begin,
    /// `/readyz`: 503 where the [`Readiness`](async_drain::Readiness) says so.
    Ready,
    /// `/livez`: 200 until the end.
    Live,
    NotFound,
}

impl Route {
    pub fn of(path: &str) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let first = parts.next().unwrap_or_default();
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let route = match first {
            "" => Some(Self::Hello),
            "sleep" => number().map(|ms| Self::Sleep(Duration::from_millis(ms))),
            "stream" => number().zip(number()).map(|(chunks, ms)| {
                let chunks = usize::try_from(chunks).unwrap_or(usize::MAX);
                Self::Stream(chunks, Duration::from_millis(ms))
            }),
            "bytes" => number().map(Self::Bytes),
            "full" => number()
                .and_then(|length| usize::try_from(length).ok())
                .filter(|length| *length <= MOST_IN_ONE_FRAME)
                .map(Self::Full),
            "echo" => Some(Self::Echo),
            "reject" => Some(Self::Reject),
            "accepted" => Some(Self::Accepted),
            "panic" => Some(Self::Panic),
            "ws" => Some(Self::WebSocket),
            "events" => parts
                .next()
                .map_or(Some(100), |part| part.parse().ok())
                .map(|ms| Self::Events(Duration::from_millis(ms))),
            "block" => number().map(|ms| Self::Block(Duration::from_millis(ms))),
            "begin" => Some(Self::Begin),
            "readyz" => Some(Self::Ready),
            "livez" => Some(Self::Live),
            _ => None,
        };
        match (route, parts.next()) {
            (Some(route), None) => route,
            _ => Self::NotFound,
        }
    }
}
