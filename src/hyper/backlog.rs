use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_io::AsyncWrite;

/// Bytes that were taken from hyper before the socket could take them.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// How many of them the socket has taken.
    written: usize,
}

impl Backlog {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes all of it to `conn`, and gives its memory back.
    pub(super) fn poll_write_to<C>(
        &mut self,
        conn: &mut C,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        C: AsyncWrite + Unpin + ?Sized,
    {
        while self.written < self.bytes.len() {
            let rest = &self.bytes[self.written..];
            match ready!(Pin::new(&mut *conn).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
        drop(mem::take(self));
        Poll::Ready(Ok(()))
    }
}
