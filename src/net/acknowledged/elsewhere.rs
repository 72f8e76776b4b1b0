//! Nothing tells but the peer, by its close; and that ends the lingering by itself.

#[cfg(unix)]
use std::os::fd::BorrowedFd as BorrowedSocket;
#[cfg(windows)]
use std::os::windows::io::BorrowedSocket;
use std::task::{Context, Poll};

#[derive(Debug, Default)]
pub(in super::super) struct Watch;

impl Watch {
    #[expect(clippy::unused_self, reason = "Linux has something to ask")]
    pub(in super::super) fn poll(
        &mut self,
        _: BorrowedSocket<'_>,
        _: &mut Context<'_>,
    ) -> Poll<()> {
        Poll::Pending
    }

    #[expect(clippy::unused_self, reason = "Linux has something to ask")]
    pub(in super::super) fn is_set(&self) -> bool {
        false
    }
}

pub(super) fn unacknowledged(_: BorrowedSocket<'_>) -> Option<usize> {
    None
}
