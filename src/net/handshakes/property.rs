//! What the readers must answer: a handshake overlooked is a peer whom the closing of the listener resets (Z1), and one
//! that is not there delays it.

use std::fmt::Write;

use super::{NLMSG_DONE, SOCK_DIAG_BY_FAMILY, in_dump, in_table};

/// A line of the table, in what counts.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) struct Line {
    pub(crate) v6: bool,
    pub(crate) local: u128,
    pub(crate) port: u16,
    pub(crate) peer: u128,
    pub(crate) peer_port: u16,
    pub(crate) state: u8,
    pub(crate) queue: u32,
}

/// Only the lines say which ports have a handshake under way, each for itself.
pub(crate) fn check_table(lines: &[Line]) {
    let mut table =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n".into();
    for (number, line) in lines.iter().enumerate() {
        print(&mut table, number, line);
    }
    for &Line { port, .. } in lines {
        for port in [port, port.swap_bytes(), port ^ 1] {
            let expected = lines
                .iter()
                .any(|line| line.port == port && line.state == 3);
            assert_eq!(in_table(&table, port), expected, "{port} in\n{table}");
        }
    }
}

/// As `get_tcp4_sock` and `get_tcp6_sock` of the kernel print it.
fn print(table: &mut String, number: usize, line: &Line) {
    let address = |table: &mut String, ip: u128, port: u16| {
        let digits = if line.v6 { 32 } else { 8 };
        let ip = format!("{ip:032X}");
        write!(table, " {}:{port:04X}", &ip[..digits])
    };
    let done = write!(table, "{number:4}:")
        .and_then(|()| address(table, line.local, line.port))
        .and_then(|()| address(table, line.peer, line.peer_port))
        .and_then(|()| {
            let Line { state, queue, .. } = line;
            writeln!(
                table,
                " {state:02X} {queue:08X}:{queue:08X} 00:{queue:08X} {queue:08X} {queue:5} {queue:8} {queue} 1 \
                 0000000000000000 100 0 0 10 0"
            )
        });
    done.unwrap_or_else(|_| unreachable!("a String takes all"));
}

/// Any text has an answer, and what is put before or after a table's lines takes none of theirs away.
pub(crate) fn check_text(text: &str, port: u16) {
    let found = in_table(text, port);
    let lines: Vec<_> = text.lines().collect();
    let (header, lines) = lines.split_first().unwrap_or((&"", &[]));
    let alone = lines
        .iter()
        .any(|line| in_table(&format!("{header}\n{line}"), port));
    assert_eq!(found, alone);
}

/// An answer is taken for one only if it is whole, and then its type alone says which.
pub(crate) fn check_dump(answer: &[u8]) {
    let kind = answer
        .get(..16)
        .map(|header| u16::from_ne_bytes([header[4], header[5]]));
    let expected = match kind {
        Some(SOCK_DIAG_BY_FAMILY) => Some(true),
        Some(NLMSG_DONE) => Some(false),
        _ => None,
    };
    assert_eq!(in_dump(answer), expected);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Line;

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
            .prop_map(|(v6, local, port, peer, peer_port, state, queue)| Line {
                v6,
                local,
                port,
                peer,
                peer_port,
                state,
                queue,
            })
    }

    proptest! {
        /// Z1: each handshake of the port is found, and nothing else.
        #[test]
        fn handshakes_are_found_in_any_table(lines in prop::collection::vec(line(), 0..8)) {
            super::check_table(&lines);
        }

        #[test]
        fn handshakes_are_looked_for_in_any_text(text in "([ :0-9A-F]{0,30}[\n\r]?){0,6}", port in any::<u16>()) {
            super::check_text(&text, port);
        }

        #[test]
        fn handshakes_are_looked_for_in_any_dump(mut answer in prop::collection::vec(any::<u8>(), 0..40), kind in 0..24_u16) {
            if let Some(place) = answer.get_mut(4..6) {
                place.copy_from_slice(&kind.to_ne_bytes());
            }
            super::check_dump(&answer);
        }
    }
}
