//! Tunnels in streams of HTTP/2.

use std::{cell::Cell, sync::atomic::Ordering};

use super::Activity;

thread_local! {
    /// The tunnel whose task hyper is about to spawn: set by the answer that opens it, and taken in
    /// the same poll of its stream.
    static NEXT_TUNNEL: Cell<Option<Tunnel>> = const { Cell::new(None) };
}

/// A stream of HTTP/2 that has become a tunnel. The task that hyper spawns to write to it keeps
/// this for as long as the stream lives.
///
/// hyper spawns that task through the server's executor, and nothing tells its connection.
#[derive(Debug)]
pub(in crate::hyper) struct Tunnel(Activity);

impl Tunnel {
    /// Notes that the next task to be spawned is that of a tunnel of this connection.
    pub(super) fn announce(activity: &Activity) {
        activity.0.tunnels.fetch_add(1, Ordering::Relaxed);
        let tunnel = Self(activity.clone());
        // If the thread is ending, the thread-local is gone, and so is the executor.
        let _ = NEXT_TUNNEL.try_with(|next| next.set(Some(tunnel)));
    }

    /// Returns the tunnel of the task that is being spawned, if it has one.
    pub(in crate::hyper) fn next() -> Option<Self> {
        NEXT_TUNNEL.try_with(Cell::take).ok().flatten()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // Its last bytes may be in h2's buffer.
        self.0.0.copied.store(true, Ordering::Relaxed);
        self.0.0.tunnels.fetch_sub(1, Ordering::Release);
    }
}
