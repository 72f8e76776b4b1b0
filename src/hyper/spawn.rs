use std::{fmt, future::Future, pin::Pin};

use ::hyper::rt::Executor;

use crate::{TakeUntilAborting, UntilAborting, sync::Arc, tree::Core};

/// A task to be spawned on an executor with several threads.
pub type SendTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task to be spawned on an executor of a single thread.
pub type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// Spawns connections and HTTP/2 streams through what the caller gave; made by [`Server::spawn`](super::Server::spawn).
///
/// Its tasks end when aborting begins, and until then keep the drain from being drained (Z12).
pub struct SendSpawner<F>(Arc<Spawner<F>>);

/// The same without `Send`; made by [`Server::spawn_local`](super::Server::spawn_local).
pub struct LocalSpawner<F>(Arc<Spawner<F>>);

/// The one function of all connections.
struct Spawner<F> {
    spawn: F,
    core: Arc<Core>,
}

impl<F, T> Executor<T> for SendSpawner<F>
where
    F: Fn(SendTask),
    T: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: T) {
        (self.0.spawn)(Box::pin(cut_by(&self.0.core, task)));
    }
}

impl<F, T> Executor<T> for LocalSpawner<F>
where
    F: Fn(LocalTask),
    T: Future<Output = ()> + 'static,
{
    fn execute(&self, task: T) {
        (self.0.spawn)(Box::pin(cut_by(&self.0.core, task)));
    }
}

fn cut_by<T: Future<Output = ()>>(core: &Arc<Core>, task: T) -> impl Future<Output = ()> + use<T> {
    let hold = core.hold();
    let task = TakeUntilAborting::new(task, UntilAborting::new(core));
    async move {
        // Cut or done, it is over.
        let _ = task.await;
        drop(hold);
    }
}

macro_rules! spawner {
    ($spawner:ident) => {
        impl<F> $spawner<F> {
            pub(super) fn new(spawn: F, core: Arc<Core>) -> Self {
                Self(Arc::new(Spawner { spawn, core }))
            }
        }

        impl<F> Clone for $spawner<F> {
            fn clone(&self) -> Self {
                Self(Arc::clone(&self.0))
            }
        }

        impl<F> fmt::Debug for $spawner<F> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($spawner)).finish_non_exhaustive()
            }
        }
    };
}

spawner!(SendSpawner);
spawner!(LocalSpawner);
