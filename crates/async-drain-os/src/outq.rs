//! `SIOCOUTQ`: the bytes of a TCP socket that its peer has not acknowledged.

/// Returns how many bytes written to the TCP socket `fd`, its FIN included, its peer has not
/// acknowledged.
///
/// # Errors
///
/// Those of `ioctl(2)`, e.g. if `fd` is not a TCP socket, or if it listens.
pub fn unacknowledged(fd: impl std::os::fd::AsFd) -> std::io::Result<usize> {
    use rustix::ioctl::{Getter, Opcode, ioctl};

    /// `SIOCOUTQ` of `linux/sockios.h`, which is `TIOCOUTQ` of `asm/termbits.h`.
    #[cfg(any(target_arch = "mips", target_arch = "mips64"))]
    const SIOCOUTQ: Opcode = 0x7472;
    #[cfg(any(target_arch = "powerpc", target_arch = "powerpc64"))]
    const SIOCOUTQ: Opcode = 0x4004_7473;
    #[cfg(any(target_arch = "sparc", target_arch = "sparc64"))]
    const SIOCOUTQ: Opcode = 0x4004_7473;
    #[cfg(not(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc",
        target_arch = "sparc64"
    )))]
    const SIOCOUTQ: Opcode = 0x5411;

    // SAFETY: on every kind of file that knows this opcode (sockets and terminals) the call writes
    // one C int.
    let bytes: i32 = unsafe { ioctl(fd, Getter::<SIOCOUTQ, i32>::new()) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::unacknowledged;

    #[test]
    fn bytes_that_the_peer_has_no_room_for_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&ours).unwrap(), 0);

        ours.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(n) = ours.write(&[0; 65536]) {
            written += n;
        }
        assert!(unacknowledged(&ours).unwrap() > 0);

        // Bytes that have been read were acknowledged before.
        theirs.read_exact(&mut vec![0; written]).unwrap();
        assert_eq!(unacknowledged(&ours).unwrap(), 0);
    }

    #[test]
    fn a_descriptor_without_a_connection_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(unacknowledged(&listener).is_err());
        assert!(unacknowledged(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
