//! The program that chooses among the members of a `SO_REUSEPORT` group.

use std::{
    ffi::{c_int, c_void},
    io, mem,
    os::fd::{AsFd, AsRawFd},
};

/// One instruction of a classic BPF program, as in `linux/filter.h`: the operation, how far to jump
/// if it is true and if it is false, and its operand.
pub type Instruction = (u16, u8, u8, u32);

/// Attaches a classic BPF program to the group of the TCP listener `fd`, in place of the one that
/// it has. It needs no privilege.
///
/// For each connection request, the program returns the number of the member that gets it. If it
/// is not the number of a member, the kernel chooses one.
///
/// # Errors
///
/// Those of `setsockopt(2)`, e.g. if `fd` is not in a group or the program is not valid.
pub fn attach(fd: impl AsFd, program: &[Instruction]) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> = program
        .iter()
        .map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: instructions.as_mut_ptr(),
    };
    set(fd, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// Detaches the program from the group of the TCP listener `fd`.
///
/// # Errors
///
/// Those of `setsockopt(2)`, e.g. if the group has no program.
pub fn detach(fd: impl AsFd) -> io::Result<()> {
    let nothing: c_int = 0;
    set(fd, libc::SO_DETACH_REUSEPORT_BPF, &nothing)
}

fn set<T>(fd: impl AsFd, option: c_int, value: &T) -> io::Result<()> {
    let fd = fd.as_fd();
    // SAFETY: the kernel reads as many bytes of `value` as it is told, which are all there. For
    // the first option they are a `sock_fprog`, whose pointer leads to as many instructions as it
    // says, alive and unmoved in `attach` during the call; the kernel copies them. For the second
    // one they are an int, and are ignored.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast::<c_void>(),
            libc::socklen_t::try_from(mem::size_of::<T>()).unwrap_or(0),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::{io, net::TcpListener};

    use socket2::{Domain, Socket, Type};

    use super::{attach, detach};

    const RETURN: u16 = 0x06;

    fn member(address: std::net::SocketAddr) -> TcpListener {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(16).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.into()
    }

    fn accepted(listener: &TcpListener) -> usize {
        std::iter::from_fn(|| listener.accept().ok()).count()
    }

    #[test]
    fn the_program_chooses_the_member_until_it_is_detached() {
        let first = member(([127, 0, 0, 1], 0).into());
        let address = first.local_addr().unwrap();
        let members = [first, member(address)];
        for (index, chosen) in members.iter().enumerate() {
            attach(chosen, &[(RETURN, 0, 0, u32::try_from(index).unwrap())]).unwrap();
            let _peers = [(); 8].map(|()| std::net::TcpStream::connect(address).unwrap());
            assert_eq!(accepted(chosen), 8);
            assert_eq!(accepted(&members[1 - index]), 0);
        }
        detach(&members[0]).unwrap();
        let error = detach(&members[0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_listener_outside_of_a_group_and_a_bad_program_are_errors() {
        let alone = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(attach(&alone, &[(RETURN, 0, 0, 0)]).is_err());
        let member = member(([127, 0, 0, 1], 0).into());
        assert!(attach(&member, &[]).is_err());
        assert!(attach(&member, &[(0xffff, 0, 0, 0)]).is_err());
    }
}
