//! Tells the kernel to queue nobody new on a listener, so that the queue can be emptied and the listener closed
//! without a connection in it (Z1).

use std::{io, net::TcpListener};

use socket2::SockRef;

/// Stops the queueing on a TCP listener. New peers get no answer until it is closed, and are refused then.
pub(super) fn tcp(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    #[cfg(target_os = "linux")]
    if drop_syns(&socket).is_ok() {
        return Ok(());
    }
    // With no backlog the kernel drops most newcomers, if not all: one may still slip in.
    socket.listen(0)
}

/// Stops the queueing on a Unix listener: new peers are refused at once, and those who are queued can still be
/// accepted. (A socket filter does not see their connects.)
#[cfg(unix)]
pub(super) fn unix(listener: &std::os::unix::net::UnixListener) -> io::Result<()> {
    SockRef::from(listener).shutdown(std::net::Shutdown::Read)
}

/// Drops the first segment of every handshake, and nothing else: those that are under way can finish. It needs no
/// privilege.
#[cfg(target_os = "linux")]
fn drop_syns(socket: &SockRef<'_>) -> io::Result<()> {
    use socket2::SockFilter;

    // The classic BPF of linux/filter.h and linux/bpf_common.h; a filter on a TCP socket sees the TCP header first.
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
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Whether handshakes are under way on the port of `listener`: peers who hold themselves for connected a moment
/// later, and whom closing the listener would reset. Only Linux can tell.
#[cfg(target_os = "linux")]
pub(super) fn handshakes_under_way(listener: &TcpListener) -> bool {
    let Ok(address) = listener.local_addr() else {
        return false;
    };
    diag::syn_received(address).unwrap_or_else(|_| {
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
            .iter()
            .filter_map(|table| std::fs::read_to_string(table).ok())
            .any(|table| syn_received(&table, address.port()))
    })
}

/// The question put to `sock_diag(7)`, which finds the answer among 20,000 sockets in a millisecond; the table of proc(5)
/// takes a hundred, as the kernel writes a line for each of them. On a machine with much memory it takes several even
/// among none, as the kernel's table of sockets is as large; so it is not put for a family that can't be there.
#[cfg(target_os = "linux")]
mod diag {
    use std::{
        io::{self, Read},
        net::SocketAddr,
    };

    use socket2::{Domain, Protocol, Socket, Type};

    // linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h
    const AF_NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLMSG_DONE: u16 = 3;
    const REQUEST_DUMP: u16 = 0x1 | 0x300;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const TCP: u8 = 6;
    /// `TCP_SYN_RECV`, and `TCP_NEW_SYN_RECV` of those that have no socket of their own yet.
    const STATES: u32 = 1 << 3 | 1 << 12;
    /// A `nlmsghdr` and an `inet_diag_req_v2`.
    const LENGTH: u32 = 16 + 56;

    /// On a listener at `address`; one of IPv6 may have peers of both.
    pub(super) fn syn_received(address: SocketAddr) -> io::Result<bool> {
        let port = address.port();
        Ok(any(AF_INET, port)? || address.is_ipv6() && any(AF_INET6, port)?)
    }

    fn any(family: u8, port: u16) -> io::Result<bool> {
        let kernel = Socket::new(
            Domain::from(AF_NETLINK),
            Type::DGRAM,
            Some(Protocol::from(NETLINK_SOCK_DIAG)),
        )?;
        let mut request = [0; LENGTH as usize];
        request[..4].copy_from_slice(&LENGTH.to_ne_bytes());
        request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
        request[16] = family;
        request[17] = TCP;
        request[20..24].copy_from_slice(&STATES.to_ne_bytes());
        request[24..26].copy_from_slice(&port.to_be_bytes());
        kernel.send(&request)?;
        let mut answer = [0; 8192];
        let length = (&kernel).read(&mut answer)?;
        // The first message says whether there is any.
        match answer[..length].get(4..6) {
            Some(kind) if kind == SOCK_DIAG_BY_FAMILY.to_ne_bytes() => Ok(true),
            Some(kind) if kind == NLMSG_DONE.to_ne_bytes() => Ok(false),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn handshakes_under_way(_: &TcpListener) -> bool {
    false
}

/// Whether a table in the format of proc(5) has a socket on `port` that has received a SYN and no more.
#[cfg(target_os = "linux")]
fn syn_received(table: &str, port: u16) -> bool {
    const SYN_RECV: &str = "03";
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().and_then(|local| local.rsplit_once(':'));
        let state = fields.nth(1);
        state == Some(SYN_RECV)
            && local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port))
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
        time::Duration,
    };

    use socket2::{SockFilter, SockRef};

    use super::{diag, syn_received};

    /// Z1: a peer whose handshake is under way is seen, and nobody is once it is over.
    #[test]
    fn asks_for_handshakes_of_the_port_alone() {
        asks("127.0.0.1:0", Ipv4Addr::LOCALHOST.into());
    }

    /// Z1: a listener of IPv6 has peers of both families.
    #[test]
    fn asks_for_handshakes_of_both_families() {
        if TcpListener::bind("[::1]:0").is_err() {
            eprintln!("SKIPPED: no IPv6");
            return;
        }
        asks("[::]:0", Ipv6Addr::LOCALHOST.into());
        asks("[::]:0", Ipv4Addr::LOCALHOST.into());
    }

    fn asks(listen: &str, peer: IpAddr) {
        let listener = TcpListener::bind(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let reached = SocketAddr::new(peer, address.port());
        let under_way = || diag::syn_received(address).unwrap();
        assert!(!under_way());
        let _established = TcpStream::connect(reached).unwrap();
        assert!(!under_way());

        // Takes nothing but SYNs, so that no handshake ends.
        SockRef::from(&listener)
            .attach_filter(&[
                SockFilter::new(0x30, 0, 0, 13),
                SockFilter::new(0x54, 0, 0, 0x02),
                SockFilter::new(0x15, 0, 1, 0x02),
                SockFilter::new(0x06, 0, 0, u32::MAX),
                SockFilter::new(0x06, 0, 0, 0),
            ])
            .unwrap();
        let peer = TcpStream::connect_timeout(&reached, Duration::from_secs(5)).unwrap();
        assert!(under_way());
        assert!(super::handshakes_under_way(&listener));
        drop((listener, peer));
        assert!(!under_way());
    }

    #[test]
    fn finds_handshakes_of_the_port_alone() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000\n\
            \x20  1: 0100007F:1F90 0100007F:C350 03 00000000:00000000 00:00000000\n\
            \x20  2: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000\n";
        assert!(syn_received(table, 8080));
        assert!(!syn_received(table, 8081));
        assert!(!syn_received("", 8080));
        assert!(!syn_received("header\n: : 03\n1 2\n1:zz x 03", 8080));
    }
}
