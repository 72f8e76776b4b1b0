//! Reads the kernel's answers about TCP sockets: connection requests that are under way, and
//! listeners.

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;

// linux/netlink.h and linux/sock_diag.h
pub(crate) const SOCK_DIAG_BY_FAMILY: u16 = 20;
pub(crate) const NLMSG_DONE: u16 = 3;
/// The size of an `nlmsghdr`.
const HEADER: usize = 16;
/// The size of an `inet_diag_msg`, which attributes may follow.
const SOCKET: usize = 72;

/// One message of an answer of `sock_diag(7)`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Socket(Found),
    /// The answer is complete.
    Done,
    /// The question was refused, or the message is not understood.
    Other,
}

/// A socket that `sock_diag(7)` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) family: u8,
    /// Which timer runs; 0 for none.
    pub(crate) timer: u8,
    /// How often the answer to a connection request was sent again.
    pub(crate) retransmits: u8,
    /// The local address: four bytes of it if the family is IPv4.
    pub(crate) local: [u8; 16],
    /// The interface that the socket is bound to; 0 for any.
    pub(crate) interface: u32,
    /// The number of the socket that `SO_COOKIE` tells too.
    pub(crate) cookie: u64,
    /// Milliseconds until the timer of a connection request fires.
    pub(crate) expires: u32,
    /// How many connections the queue of a listener has.
    pub(crate) queued: u32,
    /// How many that queue may have; the kernel takes one more.
    pub(crate) backlog: u32,
    pub(crate) user: u32,
}

/// Takes the first message from `answer`; `None` if none is left, or none that is whole.
pub(crate) fn next_message(answer: &mut &[u8]) -> Option<Message> {
    let header = answer.get(..HEADER)?;
    let length = usize::try_from(word(header, 0)).ok()?;
    let body = answer.get(HEADER..length)?;
    let message = match u16::from_ne_bytes([header[4], header[5]]) {
        SOCK_DIAG_BY_FAMILY => body
            .get(..SOCKET)
            .map_or(Message::Other, |body| Message::Socket(found(body))),
        NLMSG_DONE => Message::Done,
        _ => Message::Other,
    };
    // The last message may end without its padding.
    *answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some(message)
}

/// Reads an `inet_diag_msg` of `linux/inet_diag.h`.
fn found(body: &[u8]) -> Found {
    let mut local = [0; 16];
    local.copy_from_slice(&body[8..24]);
    Found {
        family: body[0],
        timer: body[2],
        retransmits: body[3],
        local,
        interface: word(body, 40),
        cookie: u64::from(word(body, 48)) << 32 | u64::from(word(body, 44)),
        expires: word(body, 52),
        queued: word(body, 56),
        backlog: word(body, 60),
        user: word(body, 64),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(word)
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
