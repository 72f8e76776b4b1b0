//! The socket that `NOTIFY_SOCKET` names (`sd_notify(3)`).

use std::{
    env,
    ffi::OsStr,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::BorrowedFd,
        unix::{ffi::OsStrExt, net::UnixDatagram},
    },
};

use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};

/// Sends messages to the supervisor. Nothing blocks.
#[derive(Debug)]
pub(super) struct NotifySocket {
    /// Not connected, so that a supervisor that binds its address anew is found again.
    socket: UnixDatagram,
    supervisor: SocketAddrUnix,
}

impl NotifySocket {
    /// Returns the socket of `NOTIFY_SOCKET`; `None` if that is not set.
    pub(super) fn from_env() -> io::Result<Option<Self>> {
        match env::var_os("NOTIFY_SOCKET") {
            None => Ok(None),
            Some(address) => Self::to(&address).map(Some),
        }
    }

    pub(super) fn to(address: &OsStr) -> io::Result<Self> {
        let supervisor = match address.as_bytes() {
            [b'/', ..] => SocketAddrUnix::new(address),
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
            _ => Err(rustix::io::Errno::AFNOSUPPORT),
        }?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, supervisor })
    }

    /// Sends one message, with a descriptor if there is one.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the supervisor is slow to read; any other if it
    /// is gone.
    pub(super) fn send(&self, message: &str, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let fds = fd.as_slice();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let message = [IoSlice::new(message.as_bytes())];
        let (to, flags) = (&self.supervisor, SendFlags::NOSIGNAL);
        sendmsg_addr(&self.socket, to, &message, &mut control, flags)?;
        Ok(())
    }
}
