//! Listeners that systemd keeps while the service restarts.

use std::{io, os::fd::AsFd};

use super::socket::NotifySocket;
use crate::net::{Holders, Listening, OsListener};

/// Asks systemd to keep a listener while the service restarts, and returns the listener, ready for
/// [`Drain::accept`](crate::Drain::accept).
///
/// The next start finds it among the [`listeners`](super::listeners), by this name. No connection
/// is refused between the two, and those in the queue are left to the next process. The unit needs
/// a `FileDescriptorStoreMax=` that is not less than the number of stored listeners: systemd
/// doesn't say whether it keeps one. It forgets them when the service is stopped for good. A socket
/// unit has none of these limits: prefer one if you can.
///
/// Without `NOTIFY_SOCKET` in the environment, or if systemd can't be reached, this returns the
/// listener as it would be without systemd: its queue is emptied when draining begins.
///
/// ```no_run
/// use std::net::TcpListener;
///
/// use async_drain::{net::IntoAccept, systemd};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = match systemd::listeners()?.tcp_named("http")? {
///     Some(stored) => stored.into_accept()?,
///     None => systemd::store("http", TcpListener::bind("127.0.0.1:8080")?)?,
/// };
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// If the name is not one for systemd: from 1 to 255 printable ASCII characters other than `:`. If
/// the reactor can't watch the listener.
pub fn store<L>(name: &str, listener: L) -> io::Result<Listening<L::Socket>>
where
    L: OsListener<Socket: AsFd>,
{
    store_at(NotifySocket::from_env().ok().flatten(), name, listener)
}

fn store_at<L>(
    supervisor: Option<NotifySocket>,
    name: &str,
    listener: L,
) -> io::Result<Listening<L::Socket>>
where
    L: OsListener<Socket: AsFd>,
{
    let printable = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    if !(1..=255).contains(&name.len()) || !name.bytes().all(printable) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("'{name}' can't be the name of a listener in systemd's store"),
        ));
    }
    let listener = listener.into_async()?;
    let message = format!("FDSTORE=1\nFDNAME={name}\n");
    let fd = listener.as_ref().as_fd();
    let is_stored = supervisor.is_some_and(|socket| socket.send(&message, Some(fd)).is_ok());
    Ok(if is_stored {
        Listening::held_by(Holders::Another, listener)
    } else {
        Listening::new(listener)
    })
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsString,
        io::{ErrorKind, IoSliceMut},
        mem::MaybeUninit,
        net::{TcpListener, TcpStream},
        os::{
            fd::OwnedFd,
            linux::net::SocketAddrExt,
            unix::net::{SocketAddr, UnixDatagram},
        },
    };

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::store_at;
    use crate::{
        net::{Accept, Queue},
        systemd::socket::NotifySocket,
    };

    fn supervisor(name: &str) -> (UnixDatagram, OsString) {
        let name = format!("async-drain.store.{name}.{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let address = UnixDatagram::bind_addr(&address).map(|socket| (socket, name));
        let (socket, name) = address.unwrap();
        (socket, format!("@{name}").into())
    }

    /// Z1: what systemd keeps is left to the next process, queue and all.
    #[test]
    fn a_stored_listener_is_shared_with_systemd() {
        let (systemd, address) = supervisor("shared");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let socket = NotifySocket::to(&address).unwrap();
        let mut ours = store_at(Some(socket), "http", listener).unwrap();

        let mut message = [0; 100];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut message)];
        let received = recvmsg(&systemd, &mut buffers, &mut control, RecvFlags::empty()).unwrap();
        let mut fds: Vec<OwnedFd> = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = part {
                fds.extend(passed);
            }
        }
        assert_eq!(&message[..received.bytes], b"FDSTORE=1\nFDNAME=http\n");
        assert_eq!(fds.len(), 1);

        // The first process goes; a peer that connects then is accepted from what was stored.
        assert_eq!(ours.retire(), Queue::Shared);
        drop(ours);
        let peer = TcpStream::connect(addr).unwrap();
        let stored = TcpListener::from(fds.remove(0));
        let (_, from) = stored.accept().unwrap();
        assert_eq!(from, peer.local_addr().unwrap());
    }

    #[test]
    fn without_systemd_a_listener_is_emptied_as_usual() {
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
        let mut own = store_at(None, "http", listener()).unwrap();
        assert_eq!(own.retire(), Queue::Closed);

        let (systemd, address) = supervisor("gone");
        drop(systemd);
        let socket = NotifySocket::to(&address).unwrap();
        let mut own = store_at(Some(socket), "http", listener()).unwrap();
        assert_eq!(own.retire(), Queue::Closed);
    }

    #[test]
    fn a_name_that_systemd_would_not_take_is_an_error() {
        let long = "x".repeat(256);
        for name in ["", "a:b", "a\nFDSTOREREMOVE=1", "é", &long] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let error = store_at(None, name, listener).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        }
    }
}
