use std::time::Duration;

/// Limits how long a peer may take to send a request's head and to complete a handshake; see
/// [`Server::limits`](super::Server::limits).
///
/// ```
/// # use std::time::Duration;
/// use async_drain::hyper::Limits;
///
/// let limits = Limits::new().head(Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    pub(super) head: Duration,
    pub(super) handshake: Duration,
}

impl Limits {
    /// Returns the default limits: 30 seconds for a request's head, 10 for a handshake.
    #[must_use]
    pub fn new() -> Self {
        Self {
            head: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
        }
    }

    /// Sets how long a request's head may take from its first byte to its last, which in HTTP/2 is
    /// that of its last CONTINUATION. The preface of HTTP/2, together with the SETTINGS behind it,
    /// has the same limit.
    ///
    /// The time between two requests is not limited.
    #[must_use]
    pub fn head(mut self, limit: Duration) -> Self {
        self.head = limit;
        self
    }

    /// Sets how long a handshake may take.
    #[must_use]
    pub fn handshake(mut self, limit: Duration) -> Self {
        self.handshake = limit;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
