//! The question put to `sock_diag(7)`, which finds the answer among 20,000 sockets in a millisecond; the table of proc(5)
//! takes a hundred, as the kernel writes a line for each of them.

use std::io::{self, Read};

use socket2::{Domain, Protocol, Socket, Type};

use crate::net::handshakes::{SOCK_DIAG_BY_FAMILY, in_dump};

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const REQUEST_DUMP: u16 = 0x1 | 0x300;
const FAMILIES: [u8; 2] = [2, 10];
const TCP: u8 = 6;
/// `TCP_SYN_RECV`, and `TCP_NEW_SYN_RECV` of those that have no socket of their own yet.
const STATES: u32 = 1 << 3 | 1 << 12;
/// A `nlmsghdr` and an `inet_diag_req_v2`.
const LENGTH: u32 = 16 + 56;

/// Whether a socket on `port` has received a SYN and no more.
pub(super) fn syn_received(port: u16) -> io::Result<bool> {
    for family in FAMILIES {
        if any(family, port)? {
            return Ok(true);
        }
    }
    Ok(false)
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
    in_dump(&answer[..length]).ok_or_else(|| io::ErrorKind::Unsupported.into())
}
