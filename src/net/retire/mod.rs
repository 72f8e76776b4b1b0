//! Tells the kernel to queue nobody new on a listener, so that the queue can be emptied and the listener closed
//! without a connection in it (Z1).
//!
//! Linux does it for good. The BSDs and Apple's systems let one peer slip in at a time. Windows does not: there the queue
//! is emptied, and who connects in the moment between the last look at it and the close is reset.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;

use std::{io, net::TcpListener};

use socket2::SockRef;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use elsewhere as system;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;
pub(super) use system::handshakes_under_way;
#[cfg(unix)]
pub(super) use system::unix;

/// Stops the queueing on a TCP listener. New peers get no answer until it is closed, and are refused then.
pub(super) fn tcp(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    system::drop_syns(&socket).or_else(|_| shorten(&socket))
}

/// Makes the queue as short as it can be: the kernel drops most newcomers, if not all, since one may still slip in.
fn shorten(socket: &SockRef<'_>) -> io::Result<()> {
    // Apple's kernel takes zero, and all below it, for the longest.
    socket.listen(i32::from(cfg!(target_vendor = "apple")))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use socket2::SockRef;

    /// Z1: where nothing better is to be had, those who are queued are not lost.
    #[test]
    fn a_shorter_queue_keeps_those_in_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peers: Vec<_> = (0..5)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        super::shorten(&SockRef::from(&listener)).unwrap();
        for peer in &peers {
            let (_, from) = listener.accept().unwrap();
            assert_eq!(from, peer.local_addr().unwrap());
        }
        listener.set_nonblocking(true).unwrap();
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}
