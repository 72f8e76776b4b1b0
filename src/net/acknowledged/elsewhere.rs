//! Nothing tells but the peer, by its close; and that ends the lingering by itself.

use std::{
    net::TcpStream,
    task::{Context, Poll},
};

#[derive(Debug)]
pub(super) struct Watch;

impl Watch {
    #[expect(clippy::unnecessary_wraps, reason = "Linux may find nothing to watch")]
    pub(super) fn new(_: &TcpStream) -> Option<Self> {
        Some(Self)
    }

    #[expect(clippy::unused_self, reason = "Linux has something to ask")]
    pub(super) fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
