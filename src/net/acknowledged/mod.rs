//! When has the peer acknowledged everything? (Z8) Linux alone can tell.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;

use std::{
    net::TcpStream,
    task::{Context, Poll},
};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use elsewhere as system;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;

/// What it takes to wait until a connection's peer has acknowledged everything.
#[derive(Debug, Default)]
pub struct Acknowledged(system::Watch);

impl Acknowledged {
    pub(super) fn is(socket: &TcpStream) -> bool {
        system::delivered(socket)
    }

    /// Ready once `socket`, always the same one, has nothing left that is not acknowledged.
    pub(super) fn poll(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(socket, cx)
    }
}
