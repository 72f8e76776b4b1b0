//! The signal handler that counts requests is in `async-drain-os`, since it is unsafe code.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

pub(super) use async_drain_os::signal::Counting;
use async_drain_os::signal::default_while as os_default_while;
use async_signal::Signal;

/// Lets `signal` take its default action whenever it arrives while `unheard` is set.
pub(super) fn default_while(signal: Signal, unheard: Arc<AtomicBool>) -> io::Result<()> {
    os_default_while(signal as i32, unheard)
}
