//! Counts the accept loops of this process that have stopped the queueing of a socket. What has
//! been done to a socket affects all of them, so the last one undoes it.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::BorrowedSocket;
use crate::net::os::{self, Identity};

/// An entry for each accept loop that has stopped the queueing of its socket.
static STOPPED: Mutex<Vec<Identity>> = Mutex::new(Vec::new());

/// Held while an accept loop that has retired looks whether it is the last one to hold a listener,
/// and gives the listener up if it is not. Of two that do so at once, neither would be.
pub(in crate::net) fn one_loop_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entry of one accept loop.
#[derive(Debug)]
pub(super) struct StoppedLoop {
    /// `None` if the system doesn't tell, or when the entry has been removed.
    socket: Option<Identity>,
}

impl StoppedLoop {
    /// Stops the queueing of a socket by `stop`.
    pub(super) fn stop<T>(socket: BorrowedSocket<'_>, stop: impl FnOnce() -> T) -> (T, Self) {
        let socket = os::identity(socket);
        // Until the entry is there, the last other loop may undo what is being done.
        let mut stopped = stopped();
        stopped.extend(socket);
        (stop(), Self { socket })
    }

    /// Undoes it by `undo`, unless another loop has stopped the queueing too.
    pub(super) fn undo<T>(mut self, undo: impl FnOnce() -> T) -> Option<T> {
        let mut stopped = stopped();
        let socket = self.remove(&mut stopped);
        let is_last = socket.is_none_or(|socket| !stopped.contains(&socket));
        is_last.then(undo)
    }

    fn remove(&mut self, stopped: &mut Vec<Identity>) -> Option<Identity> {
        let socket = mem::take(&mut self.socket)?;
        if let Some(entry) = stopped.iter().position(|&entry| entry == socket) {
            stopped.swap_remove(entry);
        }
        Some(socket)
    }
}

impl Drop for StoppedLoop {
    fn drop(&mut self) {
        if self.socket.is_some() {
            self.remove(&mut stopped());
        }
    }
}

fn stopped() -> MutexGuard<'static, Vec<Identity>> {
    // Nothing under this lock panics.
    STOPPED.lock().unwrap_or_else(PoisonError::into_inner)
}
