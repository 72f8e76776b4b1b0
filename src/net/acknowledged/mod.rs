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
use elsewhere::Watch;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux::Watch;

/// Resolves when everything has been acknowledged.
#[derive(Debug)]
pub struct Acknowledged(Option<Watch>);

impl Acknowledged {
    pub(super) fn unknown() -> Self {
        Self(None)
    }

    pub(super) fn by(socket: &TcpStream) -> Self {
        Self(Watch::new(socket))
    }

    /// Ready once the socket that this was made for has nothing left that is not acknowledged.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(watch) = &mut self.0 {
            if watch.poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.0 = None;
        }
        Poll::Ready(())
    }
}
