use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::hyper::rt::Executor;
use pin_project_lite::pin_project;

use crate::{
    Phase, UntilAborting,
    sync::Arc,
    tree::{Core, Held},
};

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
        (self.0.spawn)(Box::pin(Cut::new(&self.0.core, task)));
    }
}

impl<F, T> Executor<T> for LocalSpawner<F>
where
    F: Fn(LocalTask),
    T: Future<Output = ()> + 'static,
{
    fn execute(&self, task: T) {
        (self.0.spawn)(Box::pin(Cut::new(&self.0.core, task)));
    }
}

pin_project! {
    /// A task that ends when aborting begins.
    struct Cut<T> {
        #[pin]
        task: Option<T>,
        // Made when the task has to wait: most HTTP/2 streams never do.
        aborting: Option<UntilAborting>,
        // The last to go. Without one the drain is drained, and the task is over before it has begun.
        hold: Option<Held>,
    }
}

impl<T> Cut<T> {
    fn new(core: &Core, task: T) -> Self {
        Self {
            task: Some(task),
            aborting: None,
            hold: core.hold(),
        }
    }
}

impl<T: Future<Output = ()>> Future for Cut<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let (Some(task), Some(hold)) = (this.task.as_mut().as_pin_mut(), &this.hold) {
            let core = hold.core();
            if !core.latch.is(Phase::Aborting) && task.poll(cx).is_pending() {
                let aborting = (this.aborting).get_or_insert_with(|| UntilAborting::new(core));
                ready!(Pin::new(aborting).poll(cx));
            }
        }
        // Cut or done, it is over.
        this.task.set(None);
        *this.hold = None;
        Poll::Ready(())
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
