use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use async_signal::Signal;
use signal_hook::flag;

/// From now on `signal` takes its default action whenever it comes while `nobody` is set. A handler that is taken out
/// again leaves its signal ignored for the rest of the process's life, so this one never is.
pub(super) fn default_action(signal: Signal, nobody: Arc<AtomicBool>) -> io::Result<()> {
    flag::register_conditional_default(signal as i32, nobody).map(drop)
}
