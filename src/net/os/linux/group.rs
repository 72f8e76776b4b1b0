//! Steers the new connections of a `SO_REUSEPORT` group away from a member that retires.
//!
//! The kernel numbers the members of a group in the order in which they began to listen, and moves
//! the last one into the place of one that leaves. A program of the group returns the number of the
//! member that gets a connection request. A number that no member has means that the kernel
//! chooses, by a hash of the addresses.
//!
//! No call tells a member its number. But it can find out whether it is the last one:
//! `sock_diag(7)` tells which listener the kernel would choose for a pair of addresses. A newcomer
//! is the last of *n* + 1 members, and addresses that the hash gives to the last of *n* + 1 go to
//! the last of *n* when it has left. So a socket that drops every SYN joins the group for a moment,
//! while the group's program gives everything to the first member.
//!
//! If the retiring member is not the last, the last one gets all new connections. When the retiring
//! one has closed, the number is that of no member, and the program does nothing. If it is the
//! last, the others get a random share each, which remains right when it has closed. Either way a
//! later member would be treated wrongly, so each detaches the program when it begins to accept.
//!
//! Members retire one after the other, since each that leaves changes the numbers of the others. An
//! abstract Unix socket, which vanishes with the process, is the lock.

#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::BorrowedFd,
        unix::net::{SocketAddr as UnixAddr, UnixListener},
    },
};

use async_drain_os::reuseport::{self, Instruction};
use socket2::{Domain, SockRef, Socket, Type};

use super::{
    connection_requests::Found,
    drop_syns,
    sock_diag::{Kernel, listeners},
};

// linux/filter.h and linux/bpf_common.h
const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const MODULO: u16 = 0x94; // BPF_ALU | BPF_MOD | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const RETURN_A: u16 = 0x16; // BPF_RET | BPF_A
/// `SKF_AD_OFF + SKF_AD_RANDOM`: a random number in place of a part of the segment.
const RANDOM: u32 = 0xffff_f038;

/// The error if a member has joined or left while the last one was looked for.
const CHANGED: io::ErrorKind = io::ErrorKind::ResourceBusy;

/// How many pairs of addresses are tried per member. Each has a chance of one in *n* + 1.
const TRIES: usize = 64;

/// Keeps the new connections of a group away from one member: they go to its siblings.
#[derive(Debug)]
pub struct Steering {
    address: SocketAddr,
    /// How many members the group had.
    members: usize,
    /// Keeps others from retiring until this one has closed.
    _turn: Turn,
}

/// Steers new connections away from a member at `address`; `None` if it has to be tried again,
/// since a sibling is retiring, or a member has joined or left while this looked at the group.
///
/// # Errors
///
/// If the member has no sibling or is bound to an interface, or the system refuses. Nothing is
/// attached to the group then.
pub(in crate::net) fn steer(
    member: BorrowedFd<'_>,
    address: SocketAddr,
) -> io::Result<Option<Steering>> {
    let turn = match Turn::take(address) {
        Ok(turn) => turn,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
        Err(error) => return Err(error),
    };
    let members = members(member, address)?;
    // The question which member is the last one is asked for no interface.
    if members < 2 || SockRef::from(&member).device()?.is_some() {
        return Err(io::ErrorKind::NotFound.into());
    }
    // Member 0 accepts, even if it is this one: no other member retires during this turn.
    reuseport::attach(member, &[to(0)])?;
    match aim(member, address, members) {
        Ok(()) => Ok(Some(Steering {
            address,
            members,
            _turn: turn,
        })),
        Err(error) => {
            let _ = reuseport::detach(member);
            if error.kind() == CHANGED {
                Ok(None)
            } else {
                Err(error)
            }
        }
    }
}

fn aim(member: BorrowedFd<'_>, address: SocketAddr, count: usize) -> io::Result<()> {
    let last = last_member(member, address, count)?;
    if members(member, address)? != count {
        return Err(CHANGED.into());
    }
    let others = u32::try_from(count - 1).map_err(io::Error::other)?;
    if last == cookie(member)? {
        let random = (LOAD_WORD, 0, 0, RANDOM);
        let among_others = (MODULO, 0, 0, others);
        reuseport::attach(member, &[random, among_others, (RETURN_A, 0, 0, 0)])
    } else {
        reuseport::attach(member, &[to(others)])
    }
}

/// Returns the program's instruction that sends everything to one member.
pub(super) fn to(number: u32) -> Instruction {
    (RETURN, 0, 0, number)
}

impl Steering {
    /// Prepares for the close of `member`: detaches the program if others have joined or left,
    /// since the number that it returns may be any member's then.
    pub(in crate::net) fn closing(&self, member: BorrowedFd<'_>) {
        let unchanged = members(member, self.address).is_ok_and(|count| count == self.members);
        if !unchanged {
            self.undo(member);
        }
    }

    /// Gives the member its share of new connections again.
    #[expect(clippy::unused_self, reason = "only a steered group has our program")]
    pub(in crate::net) fn undo(&self, member: BorrowedFd<'_>) {
        let _ = reuseport::detach(member);
    }
}

/// Detaches what a sibling that has retired left behind.
pub(in crate::net) fn join(member: BorrowedFd<'_>, address: SocketAddr) {
    // A sibling that is retiring sees the newcomer, and detaches its program itself.
    if let Ok(_turn) = Turn::take(address) {
        let _ = reuseport::detach(member);
    }
}

/// Counts the members of the group of `member`, itself included.
///
/// # Errors
///
/// If the system refuses to tell, which says nothing about the group.
pub(super) fn members(member: BorrowedFd<'_>, address: SocketAddr) -> io::Result<usize> {
    let listeners = listeners(address)?;
    let own = cookie(member)?;
    let own = listeners
        .iter()
        .find(|found| found.cookie == own)
        .ok_or(io::ErrorKind::NotFound)?;
    // What joins listeners to a group.
    let key = |found: &Found| (found.local, found.interface, found.user);
    Ok(listeners
        .iter()
        .filter(|found| key(found) == key(own))
        .count())
}

/// Finds the member with the highest number.
fn last_member(member: BorrowedFd<'_>, address: SocketAddr, members: usize) -> io::Result<u64> {
    let probe = ProbeMember::join(member, address)?;
    let kernel = Kernel::open()?;
    let (local, peer) = pair(address);
    // Two pairs, in case that others join or leave in between.
    let mut pairs = (1..=u16::MAX)
        .take(TRIES.saturating_mul(members + 1))
        .map(|port| SocketAddr::new(peer.ip(), port))
        .filter(|&peer| {
            kernel
                .recipient(local, peer)
                .is_ok_and(|found| found.cookie == probe.cookie)
        });
    let (Some(first), Some(second)) = (pairs.next(), pairs.next()) else {
        return Err(io::Error::other("the kernel does not choose by hash"));
    };
    drop(probe);
    let last = kernel.recipient(local, first)?.cookie;
    if kernel.recipient(local, second)?.cookie == last {
        Ok(last)
    } else {
        Err(CHANGED.into())
    }
}

/// Returns a local address of a listener at `address`, and that of a peer that doesn't exist.
fn pair(address: SocketAddr) -> (SocketAddr, SocketAddr) {
    // For documentation, so that no other listener has the local one (RFC 5737 and 3849).
    let [any_local, peer] = match address {
        SocketAddr::V4(_) => [1, 2].map(|n| Ipv4Addr::new(192, 0, 2, n).into()),
        SocketAddr::V6(_) => [1, 2].map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into()),
    };
    let local = if address.ip().is_unspecified() {
        any_local
    } else {
        address.ip()
    };
    (
        SocketAddr::new(local, address.port()),
        SocketAddr::new(peer, 0),
    )
}

/// A socket that joins a group as its last member, and takes no connection.
struct ProbeMember {
    _socket: Socket,
    cookie: u64,
}

impl ProbeMember {
    fn join(member: BorrowedFd<'_>, address: SocketAddr) -> io::Result<Self> {
        let socket = join_without_peers(member, address)?;
        Ok(Self {
            cookie: socket.cookie()?,
            _socket: socket,
        })
    }
}

/// Creates a socket that listens beside `member` at its `address`, and drops every SYN.
pub(super) fn join_without_peers(
    member: BorrowedFd<'_>,
    address: SocketAddr,
) -> io::Result<Socket> {
    let member = SockRef::from(&member);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(member.only_v6()?)?;
    }
    if let Some(interface) = member.device()? {
        socket.bind_device(Some(&interface))?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    drop_syns(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(1)?;
    Ok(socket)
}

fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    SockRef::from(&socket).cookie()
}

/// The lock that the retiring member of a group holds.
#[derive(Debug)]
struct Turn {
    _lock: UnixListener,
}

impl Turn {
    fn take(address: SocketAddr) -> io::Result<Self> {
        let name = format!("async-drain: a member of {address} retires");
        UnixListener::bind_addr(&UnixAddr::from_abstract_name(name)?)
            .map(|lock| Self { _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        os::fd::AsFd,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use socket2::{Domain, Socket, Type};

    use super::steer;

    fn member(address: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(1).unwrap();
        socket
    }

    /// Z1: a member that joins or leaves while another one begins to retire delays that one, and
    /// does not make it retire as if it were alone.
    #[test]
    fn a_group_that_changes_is_looked_at_again() {
        let first = member(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = first.local_addr().unwrap().as_socket().unwrap();
        let _second = member(address);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    drop(member(address));
                }
            });
            let failed: Vec<_> = (0..200)
                .filter_map(|_| steer(first.as_fd(), address).err())
                .collect();
            over.store(true, Ordering::Relaxed);
            assert!(failed.is_empty(), "{failed:?}");
        });
        assert!(steer(first.as_fd(), address).unwrap().is_some());
    }
}
