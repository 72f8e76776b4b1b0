//! The results of requests.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Error, ErrorKind};
use std::ops::AddAssign;

/// Why a request counts as lost, and how much of its response had arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    pub cause: Cause,
    pub received: u64,
}

/// How the response failed to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The connection ended before the first byte.
    Eof,
    /// The connection was reset before the first byte.
    Reset,
    /// Nothing happened for ten seconds.
    Timeout,
    /// The connection ended or was reset within the response.
    Truncated,
    /// What arrived was no response.
    Malformed,
    /// The stream alone was reset (HTTP/2), with this error code.
    StreamReset(u32),
    /// Anything else that the socket said.
    Other(ErrorKind),
}

impl Loss {
    /// Judges an error of the connection by how much had been received before it.
    pub fn new(error: &Error, received: u64) -> Self {
        let cause = match error.kind() {
            ErrorKind::TimedOut => Cause::Timeout,
            ErrorKind::InvalidData => Cause::Malformed,
            ErrorKind::UnexpectedEof if received == 0 => Cause::Eof,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe if received == 0 => Cause::Reset,
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                Cause::Truncated
            }
            other => Cause::Other(other),
        };
        Self { cause, received }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Eof => f.write_str("eof"),
            Cause::Reset => f.write_str("reset"),
            Cause::Timeout => f.write_str("timeout"),
            Cause::Truncated => f.write_str("truncated"),
            Cause::Malformed => f.write_str("malformed"),
            Cause::StreamReset(code) => write!(f, "stream reset with code {code}"),
            Cause::Other(kind) => write!(f, "{kind}"),
        }?;
        write!(f, " after {} bytes", self.received)
    }
}

/// How one request ended.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// A complete response. `leaving` says that this connection takes no further request.
    Answered {
        status: u16,
        body: u64,
        leaving: bool,
    },
    /// Not answered, and the server said so in a way that makes it safe to send again.
    Retryable,
    /// Sent, and neither answered nor refused.
    Lost(Loss),
}

/// Counts of one client, one round or one scenario.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Connections established.
    pub connections: u64,
    /// Requests of which at least one byte was written: the sum of answered, wrong, retryable and
    /// lost.
    pub requests: u64,
    pub answered: u64,
    /// Complete responses with another status or length than the request asked for, by status.
    pub wrong: BTreeMap<u16, u64>,
    pub retryable: u64,
    /// Attempts to connect that were refused, or were cut before a request was written. No request
    /// is lost by these.
    pub refused: u64,
    /// TLS connections that the server ended without `close_notify`.
    pub truncations: u64,
    /// Lost requests by reason.
    pub losses: BTreeMap<Loss, u64>,
}

/// The answer that a request should have.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub status: u16,
    /// The length of the body, where the route fixes it.
    pub body: Option<u64>,
}

impl Expected {
    /// Status 200 and any body.
    pub const OK: Self = Self {
        status: 200,
        body: None,
    };
}

impl Tally {
    /// Counts one request.
    pub fn record(&mut self, outcome: Outcome, expected: Expected) {
        self.requests += 1;
        match outcome {
            Outcome::Answered { status, body, .. } => {
                if status == expected.status && expected.body.is_none_or(|length| length == body) {
                    self.answered += 1;
                } else {
                    *self.wrong.entry(status).or_default() += 1;
                }
            }
            Outcome::Retryable => self.retryable += 1,
            Outcome::Lost(loss) => *self.losses.entry(loss).or_default() += 1,
        }
    }

    /// Returns how many requests were lost.
    pub fn lost(&self) -> u64 {
        self.losses.values().sum()
    }

    /// Returns whether every request got what it asked for, or was refused in a way that makes it
    /// safe to send again.
    pub fn is_clean(&self) -> bool {
        self.losses.is_empty() && self.wrong.is_empty()
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.requests += other.requests;
        self.answered += other.answered;
        self.retryable += other.retryable;
        self.refused += other.refused;
        self.truncations += other.truncations;
        for (status, count) in other.wrong {
            *self.wrong.entry(status).or_default() += count;
        }
        for (loss, count) in other.losses {
            *self.losses.entry(loss).or_default() += count;
        }
    }
}
