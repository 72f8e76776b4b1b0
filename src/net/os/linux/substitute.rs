//! Takes the new connection requests of a listener in its last moment.
//!
//! A listener gives up its filter before it closes, since another process may hold it. A peer that
//! connects between the two would be reset if no other process does. So a socket of this process
//! takes the requests until the listener has closed, and drops them: it joins the listener in a
//! `SO_REUSEPORT` group, whose program chooses it. What holds off new peers ends with this process
//! then, and what other holders have is untouched.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
};

use async_drain_os::reuseport;
use socket2::{SockRef, Socket};

use super::group::{join_without_peers, members, to};

/// A socket that gets the new connection requests of a listener, and drops them.
#[derive(Debug)]
pub struct Substitute(Socket);

impl Substitute {
    /// Takes the new connection requests of `listener`, which still drops SYNs and is about to
    /// close.
    ///
    /// # Errors
    ///
    /// If the listener has siblings, whose group may have a program of its own, or the system
    /// refuses to tell whether it has; or if the system refuses the substitute: the process may no
    /// longer bind the port, or the listener was made without `SO_REUSEADDR` and has connections.
    pub(in crate::net) fn of(listener: BorrowedFd<'_>) -> io::Result<Self> {
        Self::of_one_among(listener, |address| members(listener, address))
    }

    /// Takes the requests of `listener` if it is alone in its group, whose `members` are counted.
    fn of_one_among(
        listener: BorrowedFd<'_>,
        members: impl FnOnce(SocketAddr) -> io::Result<usize>,
    ) -> io::Result<Self> {
        let socket = SockRef::from(&listener);
        let address = socket.local_addr()?;
        let address = address.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        let in_group = socket.reuse_port()?;
        if in_group && members(address)? != 1 {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        socket.set_reuse_port(true)?;
        let substitute = Self::join(listener, address);
        // The kernel looks at the newest listener of an IPv4 address first, so the group needs only
        // the substitute to be in it. Of an IPv6 address, it looks at the newest last.
        if !in_group && (address.is_ipv4() || substitute.is_err()) {
            socket.set_reuse_port(false)?;
        }
        substitute
    }

    fn join(listener: BorrowedFd<'_>, address: SocketAddr) -> io::Result<Self> {
        /// The listener began to listen before.
        const SECOND_MEMBER: u32 = 1;
        let socket = join_without_peers(listener, address)?;
        reuseport::attach(&socket, &[to(SECOND_MEMBER)])?;
        Ok(Self(socket))
    }
}

impl Drop for Substitute {
    /// Leaves other holders of the listener, which has closed here, without a program.
    fn drop(&mut self) {
        let _ = reuseport::detach(self.0.as_fd());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
        os::fd::AsFd,
        thread,
    };

    use async_drain_os::reuseport;
    use socket2::{Domain, SockRef, Socket, Type};

    use super::{Substitute, to};
    use crate::net::{
        os::linux::{drop_syns, take_syns},
        retire::has_queued,
        testing::wait_until_refused,
    };

    /// Each kind of address to listen at, and those at which its peers connect.
    fn addresses() -> Vec<(SocketAddr, Vec<SocketAddr>)> {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let mut all = vec![
            (v4, vec![v4]),
            (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), vec![v4]),
        ];
        if TcpListener::bind(v6).is_ok() {
            all.push((v6, vec![v6]));
            all.push((SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), vec![v4, v6]));
        } else {
            eprintln!("SKIPPED: no IPv6");
        }
        all
    }

    /// Sends a connection request, which the kernel of the peer's own system has seen on return.
    fn connect(to: SocketAddr) -> Socket {
        let peer = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        peer.set_nonblocking(true).unwrap();
        let _ = peer.connect(&to.into());
        peer
    }

    /// Z1: peers that connect while a listener closes, its filter removed, are not queued on it,
    /// and are refused when it has closed. It may have connections.
    #[test]
    fn a_closing_listener_queues_no_peer() {
        for (listen, peers) in addresses() {
            let listener = TcpListener::bind(listen).unwrap();
            let port = listener.local_addr().unwrap().port();
            let peers: Vec<_> = peers
                .iter()
                .map(|to| SocketAddr::new(to.ip(), port))
                .collect();
            let connections: Vec<_> = peers
                .iter()
                .map(|&to| (TcpStream::connect(to).unwrap(), listener.accept().unwrap()))
                .collect();
            drop_syns(&SockRef::from(&listener)).unwrap();
            let substitute = Substitute::of(listener.as_fd()).unwrap();
            take_syns(&SockRef::from(&listener)).unwrap();
            let waiting: Vec<_> = (0..64)
                .flat_map(|_| peers.iter().map(|&to| connect(to)))
                .collect();
            assert!(!has_queued(&listener), "{listen}");
            drop(listener);
            for peer in &waiting {
                assert_eq!(peer.take_error().unwrap().map(|error| error.kind()), None);
                assert!(peer.peer_addr().is_err(), "{listen}: connected");
            }
            drop(substitute);
            for &to in &peers {
                wait_until_refused(to);
            }
            drop(connections);
        }
    }

    /// Z1: another holder of the socket gets all new peers afterwards, and finds it as it was; only
    /// one of IPv6 may be joined by sockets of the same user.
    #[test]
    fn another_holder_of_the_listener_goes_on() {
        for (listen, peers) in addresses() {
            let listener = TcpListener::bind(listen).unwrap();
            let holder = listener.try_clone().unwrap();
            let port = listener.local_addr().unwrap().port();
            let substitute = Substitute::of(listener.as_fd()).unwrap();
            drop(listener);
            drop(substitute);
            thread::scope(|scope| {
                let accepting = scope
                    .spawn(|| (0..8 * peers.len()).for_each(|_| drop(holder.accept().unwrap())));
                for to in peers.iter().cycle().take(8 * peers.len()) {
                    TcpStream::connect((to.ip(), port)).unwrap();
                }
                accepting.join().unwrap();
            });
            let error = reuseport::detach(&holder).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "a program is left");
            let joinable = SockRef::from(&holder).reuse_port().unwrap();
            assert_eq!(joinable, listen.is_ipv6());
        }
    }

    fn member(address: SocketAddr, interface: Option<&[u8]>) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind_device(interface).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(16).unwrap();
        socket
    }

    /// Z1: a listener with siblings keeps their group's program, and gets no substitute, even if
    /// the group is bound to an interface.
    #[test]
    fn a_group_is_left_alone() {
        for interface in [None, Some(b"lo".as_slice())] {
            let first = member(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), interface);
            let second = member(first.local_addr().unwrap().as_socket().unwrap(), interface);
            reuseport::attach(&second, &[to(0)]).unwrap();
            assert!(Substitute::of(first.as_fd()).is_err());
            reuseport::detach(&first).unwrap();
            drop(second);
            drop(Substitute::of(first.as_fd()).unwrap());
            assert!(first.reuse_port().unwrap());
        }
    }

    /// Z1: a listener that may have siblings gets no substitute if the system doesn't tell, and
    /// keeps the program.
    #[test]
    fn a_group_that_is_not_told_of_is_left_alone() {
        let first = member(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None);
        let second = member(first.local_addr().unwrap().as_socket().unwrap(), None);
        reuseport::attach(&second, &[to(0)]).unwrap();
        let refused = |_| Err(rustix::io::Errno::AFNOSUPPORT.into());
        assert!(Substitute::of_one_among(first.as_fd(), refused).is_err());
        reuseport::detach(&first).unwrap();
    }

    /// Z1: a listener that can't have a substitute is left as it was.
    #[test]
    fn what_was_changed_in_vain_is_undone() {
        let listener = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        if listener
            .bind(&SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into())
            .is_err()
        {
            eprintln!("SKIPPED: no IPv6");
            return;
        }
        listener.listen(16).unwrap();
        let to = listener.local_addr().unwrap().as_socket().unwrap();
        let _connection = (TcpStream::connect(to).unwrap(), listener.accept().unwrap());
        // Without `SO_REUSEADDR`, its connection keeps others from the port.
        assert!(Substitute::of(listener.as_fd()).is_err());
        assert!(!listener.reuse_port().unwrap());
    }
}
