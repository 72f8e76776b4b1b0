//! What the readers must answer (Z1). If they overlook a connection request, closing the listener
//! resets its peer; if they see one that does not exist, the close is delayed.
#![cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "fuzzing reaches it"))]

use std::fmt::Write;

use super::{in_table, next_message};

/// The fields of a line that matter: whether it is of IPv6, the local address and port, the peer's,
/// the state, and the length of a queue.
pub type Line = (bool, u128, u16, u128, u16, u8, u32);

/// Checks that each line alone decides for its own port.
pub fn check_table(lines: &[Line]) {
    let mut table =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n".into();
    for (number, &line) in lines.iter().enumerate() {
        print(&mut table, number, line);
    }
    for &(_, _, port, ..) in lines {
        for port in [port, port.swap_bytes(), port ^ 1] {
            let expected = lines
                .iter()
                .any(|&(_, _, local, _, _, state, _)| local == port && state == 3);
            assert_eq!(in_table(&table, port), expected, "{port} in\n{table}");
        }
    }
}

/// Prints a line as `get_tcp4_sock` and `get_tcp6_sock` of the kernel do.
fn print(table: &mut String, number: usize, line: Line) {
    let (v6, local, port, peer, peer_port, state, queue) = line;
    let address = |table: &mut String, ip: u128, port: u16| {
        let digits = if v6 { 32 } else { 8 };
        let ip = format!("{ip:032X}");
        write!(table, " {}:{port:04X}", &ip[..digits])
    };
    let done = write!(table, "{number:4}:")
        .and_then(|()| address(table, local, port))
        .and_then(|()| address(table, peer, peer_port))
        .and_then(|()| {
            writeln!(
                table,
                " {state:02X} {queue:08X}:{queue:08X} 00:{queue:08X} {queue:08X} {queue:5} {queue:8} {queue} 1 \
                 0000000000000000 100 0 0 10 0"
            )
        });
    done.unwrap_or_else(|_| unreachable!("writing to a String does not fail"));
}

/// Checks that any text has an answer, and that lines before or after a line don't change its own.
pub fn check_text(text: &str, port: u16) {
    let found = in_table(text, port);
    let lines: Vec<_> = text.lines().collect();
    let (header, lines) = lines.split_first().unwrap_or((&"", &[]));
    let alone = lines
        .iter()
        .any(|line| in_table(&format!("{header}\n{line}"), port));
    assert_eq!(found, alone);
}

/// Checks that reading any answer comes to an end.
pub fn check_dump(mut answer: &[u8]) {
    let mut left = answer.len();
    while next_message(&mut answer).is_some() {
        assert!(answer.len() < left, "a message without length");
        left = answer.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Found, Message, NLMSG_DONE, SOCK_DIAG_BY_FAMILY},
        Line, next_message,
    };

    fn line() -> impl Strategy<Value = Line> {
        let state = prop_oneof![Just(3), 1..13_u8];
        (
            any::<bool>(),
            any::<u128>(),
            0..4_u16,
            any::<u128>(),
            any::<u16>(),
            state,
            any::<u32>(),
        )
    }

    /// Checks that each socket of an answer is read as it was written, whatever attributes follow.
    fn check_sockets(sockets: &[(Found, usize)]) {
        let mut answer = Vec::new();
        for &(socket, attributes) in sockets {
            let body = print_socket(socket);
            message(&mut answer, SOCK_DIAG_BY_FAMILY, &body, attributes);
        }
        message(&mut answer, NLMSG_DONE, &[0; 4], 0);
        let mut rest = answer.as_slice();
        for &(socket, _) in sockets {
            assert_eq!(next_message(&mut rest), Some(Message::Socket(socket)));
        }
        assert_eq!(next_message(&mut rest), Some(Message::Done));
        assert_eq!(next_message(&mut rest), None);
    }

    fn message(answer: &mut Vec<u8>, kind: u16, body: &[u8], attributes: usize) {
        let length = 16 + body.len() + attributes;
        let whole = answer.len() + length.next_multiple_of(4);
        answer.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        answer.extend(kind.to_ne_bytes());
        answer.extend([0; 10]);
        answer.extend(body);
        answer.resize(whole, 0xa5);
    }

    /// Prints an `inet_diag_msg` as `inet_sk_diag_fill` of the kernel does.
    fn print_socket(socket: Found) -> [u8; 72] {
        let mut body = [0x5a; 72];
        let [low, high] = [socket.cookie, socket.cookie >> 32].map(|half| {
            let half = half & u64::from(u32::MAX);
            u32::try_from(half).unwrap_or(u32::MAX)
        });
        body[0] = socket.family;
        body[2] = socket.timer;
        body[3] = socket.retransmits;
        body[8..24].copy_from_slice(&socket.local);
        for (at, word) in [
            (40, socket.interface),
            (44, low),
            (48, high),
            (52, socket.expires),
            (56, socket.queued),
            (60, socket.backlog),
            (64, socket.user),
        ] {
            body[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        body
    }

    fn found() -> impl Strategy<Value = Found> {
        (
            any::<[u8; 2]>(),
            any::<u8>(),
            any::<[u8; 16]>(),
            any::<u32>(),
            any::<u64>(),
            any::<[u32; 3]>(),
            any::<u32>(),
        )
            .prop_map(
                |([family, timer], retransmits, local, interface, cookie, words, user)| Found {
                    family,
                    timer,
                    retransmits,
                    local,
                    interface,
                    cookie,
                    expires: words[0],
                    queued: words[1],
                    backlog: words[2],
                    user,
                },
            )
    }

    proptest! {
        /// Z1: each request for the port is found, and nothing else.
        #[test]
        fn requests_are_found_in_any_table(lines in prop::collection::vec(line(), 0..8)) {
            super::check_table(&lines);
        }

        #[test]
        fn any_text_has_an_answer(text in "([ :0-9A-F]{0,30}[\n\r]?){0,6}", port in any::<u16>()) {
            super::check_text(&text, port);
        }

        /// Z1: each socket that the kernel names is read.
        #[test]
        fn sockets_are_read_as_the_kernel_writes_them(
            sockets in prop::collection::vec((found(), 0..9_usize), 0..5),
        ) {
            check_sockets(&sockets);
        }

        #[test]
        fn any_dump_has_an_end(
            mut answer in prop::collection::vec(any::<u8>(), 0..120),
            length in 0..120_u32,
            kind in 0..24_u16,
        ) {
            if let Some(place) = answer.get_mut(..6) {
                place[..4].copy_from_slice(&length.to_ne_bytes());
                place[4..].copy_from_slice(&kind.to_ne_bytes());
            }
            super::check_dump(&answer);
        }
    }
}
