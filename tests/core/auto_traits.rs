//! The types that a user may send, share, move and catch panics around, checked by the compiler.

use std::{
    future::Pending,
    panic::{RefUnwindSafe, UnwindSafe},
};

use async_drain::{
    Aborted, BeginOnDrop, Drain, Drained, Guard, Observer, Phase, Progress, Readiness, Refused,
    Report, Shutdown, Straggler, Stragglers,
    futures::{
        Guarded, RunUntilAborting, RunUntilDraining, UntilAborting, UntilDrained, UntilDraining,
        UntilLameDuck,
    },
    readiness::Hold,
};
use futures_lite::future::FutureExt as _;

trait Plain: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static {}
impl<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static> Plain for T {}

fn plain<T: Plain>() {}

#[test]
fn public_types_are_send_sync_and_unwind_safe() {
    plain::<Drain>();
    plain::<Observer>();
    plain::<(Readiness, Hold)>();
    plain::<BeginOnDrop>();
    plain::<Guard>();
    plain::<(Drained, Refused, Aborted, Phase)>();
    plain::<(UntilLameDuck, UntilDraining, UntilAborting, UntilDrained)>();
    plain::<(Straggler, Stragglers, Progress)>();
    plain::<Guarded<()>>();
    plain::<(RunUntilDraining<()>, RunUntilAborting<()>)>();
}

/// A report holds the server's error, which may be anything that can be sent.
#[test]
fn a_report_is_send_and_sync() {
    fn sent<T: Send + Sync + Unpin + 'static>() {}
    sent::<Report>();
}

/// The futures of `async fn`s can be spawned.
#[test]
fn futures_of_a_shutdown_are_send() {
    let drain = Drain::new();
    drop(async { drain.finish(std::future::pending::<()>()).await }.boxed());
    let timer = |_| std::future::pending::<()>();
    let shutdown = Shutdown::with_timer(&drain, timer);
    drop(shutdown.run(std::future::pending::<()>()).boxed());
}

/// A wrapper has the auto traits of what it wraps: only a future that may move makes a wrapper that
/// may.
#[test]
fn wrappers_add_no_bounds() {
    fn unpin<T: Unpin>() {}
    unpin::<Guarded<Pending<()>>>();
    unpin::<RunUntilAborting<Pending<()>>>();
    // A local future may be wrapped.
    drop(Drain::new().guard().unwrap().wrap(std::rc::Rc::new(())));
}
