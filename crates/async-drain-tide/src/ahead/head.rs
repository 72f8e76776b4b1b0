/// The position in the head of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    /// How many bytes of its terminator have arrived.
    matched: usize,
    /// Set behind the request line, whose path may have any bytes.
    in_fields: bool,
    /// Set once a field has a byte that is not ASCII.
    pub(super) beyond_ascii: bool,
}

/// The terminator of a head, as async-h1 recognises it.
pub(super) const END: &[u8; 4] = b"\r\n\r\n";

impl Head {
    /// Reads up to the end of the head, and returns where that is in `bytes`.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, &byte) in bytes.iter().enumerate() {
            self.beyond_ascii |= self.in_fields && !byte.is_ascii();
            self.in_fields |= byte == b'\n';
            self.matched = match byte {
                byte if byte == END[self.matched] => self.matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.matched == END.len() {
                return Some(index + 1);
            }
        }
        None
    }
}
