//! Reads the kernel's answers about TCP connection requests that are under way.
//!
//! It uses nothing of the crate, since fuzzing compiles it by its path.

#[cfg(any(test, fuzzing))]
pub(crate) mod property;

// linux/netlink.h and linux/sock_diag.h
pub(crate) const SOCK_DIAG_BY_FAMILY: u16 = 20;
pub(crate) const NLMSG_DONE: u16 = 3;
/// The size of a `nlmsghdr`.
const HEADER: usize = 16;

/// Returns whether an answer of `sock_diag(7)` names a socket, by its first message; `None` if it
/// is not an answer.
pub(crate) fn in_dump(answer: &[u8]) -> Option<bool> {
    let header = answer.get(..HEADER)?;
    match u16::from_ne_bytes([header[4], header[5]]) {
        SOCK_DIAG_BY_FAMILY => Some(true),
        NLMSG_DONE => Some(false),
        _ => None,
    }
}

/// Returns whether a table in the format of proc(5) has a socket on `port` that has received only a
/// SYN.
pub(crate) fn in_table(table: &str, port: u16) -> bool {
    const SYN_RECV: &str = "03";
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().and_then(|local| local.rsplit_once(':'));
        let state = fields.nth(1);
        state == Some(SYN_RECV)
            && local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port))
    })
}

#[cfg(test)]
mod tests {
    use super::in_table;

    /// Z1: other ports and other states don't count.
    #[test]
    fn requests_of_the_port_alone_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000\n\
            \x20  1: 0100007F:1F90 0100007F:C350 03 00000000:00000000 00:00000000\n\
            \x20  2: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000\n";
        assert!(in_table(table, 8080));
        assert!(!in_table(table, 8081));
        assert!(!in_table("", 8080));
        assert!(!in_table("header\n: : 03\n1 2\n1:zz x 03", 8080));
    }
}
