//! Asks `sock_diag(7)` about TCP sockets.
//!
//! Among 20,000 sockets it finds connection requests that are under way in a millisecond. Reading
//! the table of proc(5) takes a hundred, since the kernel writes a line for each socket. On a
//! machine with much memory the question takes several milliseconds even without sockets, since the
//! kernel's table grows with the memory, so it is asked for one address family only. A question
//! about one connection, or about listeners, takes microseconds.

use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::ControlFlow,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::connection_requests::{Found, Message, SOCK_DIAG_BY_FAMILY, next_message};

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
/// `TCP_SYN_RECV`, and `TCP_NEW_SYN_RECV` for requests without a socket of their own.
const SYN_RECEIVED: u32 = 1 << 3 | 1 << 12;
const LISTEN: u32 = 1 << 10;
const ALL: u32 = u32::MAX;
/// The size of an `nlmsghdr` and an `inet_diag_req_v2`.
const LENGTH: u32 = 16 + 56;
/// The size of the buffer for one part of an answer: the kernel's parts are not larger.
const PART: usize = 32 * 1024;

/// How long the kernel waits before it answers a connection request again. It waits twice as long
/// each time.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(120);
/// How much the kernel's clock, and the time between two calls, may add to an age.
const SLACK: Duration = Duration::from_millis(20);

/// Returns whether a listener at `address` that stopped queueing a time `ago` may have a connection
/// request of which only the SYN has been received.
///
/// The kernel doesn't tell to which listener of an address a request belongs. It tells when it was
/// answered: one that began after the listener had stopped is another listener's, and the peer of
/// one whose last answer is older than `longest` has gone.
pub(super) fn syn_received(
    address: SocketAddr,
    ago: Duration,
    longest: Duration,
) -> io::Result<bool> {
    let mut any = false;
    dump(address, SYN_RECEIVED, |found| {
        any = is_under_way(&found, address, ago, longest);
        if any {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(any)
}

fn is_under_way(found: &Found, address: SocketAddr, ago: Duration, longest: Duration) -> bool {
    let age = answered_ago(found);
    // One that was answered again began at least half a second ago, before the listener stopped.
    let began_before = |age| found.retransmits > 0 || age + SLACK >= ago;
    // An age that can't be told may be any.
    is_of(found, address) && age.is_none_or(|age| began_before(age) && age < longest)
}

/// Returns whether a socket may belong to a listener at `address`.
fn is_of(found: &Found, address: SocketAddr) -> bool {
    local(found).is_none_or(|ip| address.ip().is_unspecified() || ip == address.ip())
}

/// Returns whether the queue of a listener at `address` is full.
pub(super) fn is_queue_full(address: SocketAddr) -> io::Result<bool> {
    let full = |found: &Found| is_of(found, address) && found.queued >= found.backlog;
    Ok(listeners(address)?.iter().any(full))
}

/// Returns how long ago the kernel has last answered a connection request, at least; `None` if it
/// doesn't tell, e.g. since the connection is made and is about to be queued.
fn answered_ago(found: &Found) -> Option<Duration> {
    let left = Duration::from_millis(found.expires.into());
    if found.timer == 0 {
        return None;
    }
    // If the peer sends its SYN again, the kernel counts its answer as a retransmission too, and
    // begins the interval anew instead of the next one. So it may be any interval up to this one.
    (0..=u32::from(found.retransmits).min(7))
        .map(|doubled| (FIRST_INTERVAL * 2_u32.pow(doubled)).min(LONGEST_INTERVAL))
        .find_map(|interval| interval.checked_sub(left))
}

/// Returns the listeners on the port of `address`, of its family.
pub(super) fn listeners(address: SocketAddr) -> io::Result<Vec<Found>> {
    let mut listeners = Vec::new();
    dump(address, LISTEN, |found| {
        listeners.push(found);
        ControlFlow::Continue(())
    })?;
    Ok(listeners)
}

/// Returns the local address of a socket.
fn local(found: &Found) -> Option<IpAddr> {
    match found.family {
        AF_INET => {
            let [a, b, c, d, ..] = found.local;
            Some([a, b, c, d].into())
        }
        AF_INET6 => Some(found.local.into()),
        _ => None,
    }
}

/// Calls `each` with every socket on the port of `address` that is in one of the `states`, until it
/// breaks.
fn dump(
    address: SocketAddr,
    states: u32,
    mut each: impl FnMut(Found) -> ControlFlow<()>,
) -> io::Result<()> {
    let kernel = Kernel::open()?;
    let ip: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let local = SocketAddr::new(ip, address.port());
    kernel.ask(REQUEST | DUMP, states, local, SocketAddr::new(ip, 0))?;
    let mut part = vec![0; PART];
    loop {
        let length = (&kernel.0).read(&mut part)?;
        let mut part = &part[..length];
        let mut empty = true;
        while let Some(message) = next_message(&mut part) {
            empty = false;
            match message {
                Message::Socket(found) => {
                    if each(found).is_break() {
                        return Ok(());
                    }
                }
                Message::Done => return Ok(()),
                Message::Other => return Err(io::ErrorKind::Unsupported.into()),
            }
        }
        if empty {
            return Err(io::ErrorKind::Unsupported.into());
        }
    }
}

/// A netlink socket.
pub(super) struct Kernel(Socket);

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        Socket::new(
            Domain::from(AF_NETLINK),
            Type::DGRAM,
            Some(Protocol::from(NETLINK_SOCK_DIAG)),
        )
        .map(Self)
    }

    /// Returns the socket that a segment from `peer` to `local` belongs to: a listener, if there is
    /// no such connection. Among the members of a group the kernel chooses as if the group had no
    /// program.
    pub(super) fn recipient(&self, local: SocketAddr, peer: SocketAddr) -> io::Result<Found> {
        self.ask(REQUEST, ALL, local, peer)?;
        let mut answer = [0; 1024];
        let length = (&self.0).read(&mut answer)?;
        match next_message(&mut &answer[..length]) {
            Some(Message::Socket(found)) => Ok(found),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn ask(&self, flags: u16, states: u32, local: SocketAddr, peer: SocketAddr) -> io::Result<()> {
        let mut request = [0; LENGTH as usize];
        request[..4].copy_from_slice(&LENGTH.to_ne_bytes());
        request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request[6..8].copy_from_slice(&flags.to_ne_bytes());
        request[16] = if local.is_ipv4() { AF_INET } else { AF_INET6 };
        request[17] = TCP;
        request[20..24].copy_from_slice(&states.to_ne_bytes());
        request[24..26].copy_from_slice(&local.port().to_be_bytes());
        request[26..28].copy_from_slice(&peer.port().to_be_bytes());
        request[28..44].copy_from_slice(&bytes(local));
        request[44..60].copy_from_slice(&bytes(peer));
        // Any cookie matches.
        request[64..72].copy_from_slice(&[0xff; 8]);
        self.0.send(&request)?;
        Ok(())
    }
}

/// Returns the bytes of an address, as in an `inet_diag_sockid`.
fn bytes(address: SocketAddr) -> [u8; 16] {
    match address.ip() {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{AF_INET, Found, is_under_way};

    /// Z1: a request is a retired listener's if it began before, its peer may still answer, and the
    /// address is right. A connection that is about to be queued has no timer, which tells no age.
    #[test]
    fn a_request_is_judged_by_its_timer() {
        let found = |timer, retransmits, expires| Found {
            family: AF_INET,
            timer,
            retransmits,
            local: [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            interface: 0,
            cookie: 0,
            expires,
            queued: 0,
            backlog: 0,
            user: 0,
        };
        let judge = |found: Found, ip: [u8; 4]| {
            let [ago, longest] = [100, 500].map(Duration::from_millis);
            is_under_way(&found, (ip, 80).into(), ago, longest)
        };
        for (timer, retransmits, expires, expected) in [
            (1, 0, 850, true),
            (1, 0, 999, false),
            (1, 0, 400, false),
            (1, 0, 1500, true),
            // The peer has sent its SYN again, which starts the first interval anew, or the second.
            (1, 1, 850, true),
            (1, 2, 1850, true),
            // The kernel has answered again, before and after the listener has stopped.
            (1, 1, 1850, true),
            (1, 1, 1999, true),
            (1, 1, 1400, false),
            (1, 1, 400, false),
            (1, 200, 119_999, true),
            (0, 0, 0, true),
        ] {
            let found = found(timer, retransmits, expires);
            assert_eq!(judge(found, [127, 0, 0, 1]), expected, "{found:?}");
            assert_eq!(judge(found, [0, 0, 0, 0]), expected, "{found:?}");
            assert!(!judge(found, [127, 0, 0, 2]));
        }
    }
}
