//! Retires a listener without loss: a socket filter for TCP, a shutdown for Unix sockets.

use std::{io, net::SocketAddr, os::unix::net::UnixListener, time::Duration};

use socket2::{SockFilter, SockRef};

use super::{connection_requests, sock_diag};
use crate::net::accept::Queue;

/// Drops the first segment of every new connection request, and nothing else, so that requests that
/// are under way can finish. It needs no privilege.
pub(in crate::net) fn drop_syns(socket: &SockRef<'_>) -> io::Result<()> {
    filter(socket, DROP, TAKE)
}

/// Drops all but the first segment of every connection request, so that none ends.
#[cfg(test)]
#[cfg(target_os = "linux")]
pub(in crate::net) fn take_only_syns(socket: &SockRef<'_>) -> io::Result<()> {
    filter(socket, TAKE, DROP)
}

/// How much of a segment is taken.
const DROP: u32 = 0;
const TAKE: u32 = u32::MAX;

/// Takes this much of a first segment and of any other.
fn filter(socket: &SockRef<'_>, first: u32, other: u32) -> io::Result<()> {
    // The classic BPF of linux/filter.h and linux/bpf_common.h; a filter on a TCP socket sees the
    // TCP header first.
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const FLAGS: u32 = 13; // the offset of the TCP flags
    const SYN: u32 = 0x02;
    const SYN_ACK: u32 = 0x12;

    socket.attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN_ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, first),
        SockFilter::new(RETURN, 0, 0, other),
    ])
}

/// Removes the filter of [`drop_syns`].
///
/// # Errors
///
/// If the socket has no filter.
pub(in crate::net) fn take_syns(socket: &SockRef<'_>) -> io::Result<()> {
    socket.detach_filter()
}

/// Stops a Unix listener from queueing: new peers are refused at once, and those in the queue can
/// still be accepted. (A socket filter doesn't see peers connect to a Unix socket.)
pub(in crate::net) fn shut_down_unix(listener: &UnixListener) -> Queue {
    match SockRef::from(listener).shutdown(std::net::Shutdown::Read) {
        Ok(()) => Queue::Closed,
        Err(_) => Queue::Open,
    }
}

/// Returns whether a listener at `address` that stopped queueing a time `ago` has connection
/// requests under way. Their peers count themselves as connected a moment later, and closing the
/// listener would reset them. A peer that hasn't reacted to an answer for longer than `longest` has
/// gone.
pub(in crate::net) fn connection_requests_under_way(
    address: SocketAddr,
    ago: Duration,
    longest: Duration,
) -> bool {
    sock_diag::syn_received(address, ago, longest).unwrap_or_else(|_| in_proc(address.port()))
}

/// Answers the same question by proc(5), for systems that forbid netlink.
fn in_proc(port: u16) -> bool {
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .any(|table| connection_requests::in_table(&table, port))
}

/// Returns whether the kernel answers every connection request by a cookie (`tcp_syncookies` of
/// tcp(7) is 2), and so has none in its tables while it is under way.
pub(in crate::net) fn connection_requests_are_hidden() -> bool {
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies");
    setting.is_ok_and(|setting| always_cookies(&setting))
}

fn always_cookies(setting: &str) -> bool {
    setting.trim() == "2"
}

/// Returns whether the queue of a listener at `address` is full. The kernel then drops the last
/// segment of a handshake, so that its peer counts itself as connected, and the handshake stays
/// under way until the peer sends a segment again.
pub(in crate::net) fn is_queue_full(address: SocketAddr) -> bool {
    // Without netlink, handshakes under way have no age, and all of them are waited for.
    sock_diag::is_queue_full(address).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
        thread,
        time::{Duration, Instant},
    };

    use socket2::SockRef;

    use super::{
        always_cookies, connection_requests_under_way, in_proc, sock_diag, take_only_syns,
    };

    /// Z1: connection requests are waited for where the kernel doesn't tell of them, and only
    /// there.
    #[test]
    fn connection_requests_are_hidden_by_one_setting() {
        assert!(always_cookies("2\n"));
        for setting in ["1\n", "0\n", "", "22\n"] {
            assert!(!always_cookies(setting), "{setting}");
        }
    }

    /// Z1: a connection request is seen while it is under way, and not after that.
    #[test]
    fn connection_requests_of_the_port_alone_are_seen() {
        check("127.0.0.1:0", Ipv4Addr::LOCALHOST.into());
    }

    /// Z1: a listener of IPv6 has peers of both families.
    #[test]
    fn connection_requests_of_both_families_are_seen() {
        if TcpListener::bind("[::1]:0").is_err() {
            eprintln!("SKIPPED: no IPv6");
            return;
        }
        check("[::]:0", Ipv6Addr::LOCALHOST.into());
        check("[::]:0", Ipv4Addr::LOCALHOST.into());
    }

    /// Z1: a request is under way again when the kernel has sent its answer again, since the first
    /// answer may have been lost.
    #[test]
    fn a_connection_request_that_is_answered_again_is_seen_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        take_only_syns(&SockRef::from(&listener)).unwrap();
        let _peer = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
        let longest = Duration::from_millis(500);
        let ask = || connection_requests_under_way(address, Duration::ZERO, longest);
        let begun = Instant::now();
        for expected in [true, false, true, false] {
            while ask() != expected {
                assert!(begun.elapsed() < Duration::from_secs(5), "not {expected}");
                thread::sleep(Duration::from_millis(1));
            }
        }
        assert!(begun.elapsed() > Duration::from_secs(1));
    }

    fn check(listen: &str, peer: IpAddr) {
        let listener = TcpListener::bind(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let reached = SocketAddr::new(peer, address.port());
        let under_way = || {
            let by_netlink =
                sock_diag::syn_received(address, Duration::ZERO, Duration::from_secs(1)).unwrap();
            assert_eq!(in_proc(address.port()), by_netlink);
            by_netlink
        };
        assert!(!under_way());
        let _established = TcpStream::connect(reached).unwrap();
        assert!(!under_way());

        take_only_syns(&SockRef::from(&listener)).unwrap();
        let peer = TcpStream::connect_timeout(&reached, Duration::from_secs(5)).unwrap();
        assert!(under_way());
        let ask = |ago, longest| {
            let [ago, longest] = [ago, longest].map(Duration::from_millis);
            connection_requests_under_way(address, ago, longest)
        };
        assert!(ask(0, 1000));
        // It began after the listener had stopped, or too long ago.
        assert!(!ask(1500, 2000));
        assert!(!ask(0, 0));
        drop((listener, peer));
        // The kernel forgets it when it has seen the peer's end, at times a moment later.
        let begun = Instant::now();
        while ask(0, 1000) || in_proc(address.port()) {
            assert!(begun.elapsed() < Duration::from_secs(5));
            thread::yield_now();
        }
    }
}
