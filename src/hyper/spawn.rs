use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::hyper::rt::Executor;
use pin_project_lite::pin_project;

use super::activity::Tunnel;
use crate::{
    Phase,
    drain::node::{Node, Presence},
    drain::sync::Arc,
    futures::UntilAborting,
};

/// A task for an executor with several threads.
pub(super) type SendTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task for an executor of one thread.
pub(super) type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// The executor of [`Server::new`](super::Server::new): boxes each task for a function that spawns it.
pub struct SendSpawner<F>(pub(super) F);

/// The executor of [`Server::local`](super::Server::local): the same without `Send`.
pub struct LocalSpawner<F>(pub(super) F);

impl<F, T> Executor<T> for SendSpawner<F>
where
    F: Fn(SendTask),
    T: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: T) {
        (self.0)(Box::pin(task));
    }
}

impl<F, T> Executor<T> for LocalSpawner<F>
where
    F: Fn(LocalTask),
    T: Future<Output = ()> + 'static,
{
    fn execute(&self, task: T) {
        (self.0)(Box::pin(task));
    }
}

/// Spawns a server's connections and HTTP/2 streams on `E`.
///
/// The tasks end when aborting begins, and until then keep the drain from being drained (Z12).
pub struct Tasks<E>(Arc<Shared<E>>);

/// The one executor of all connections.
struct Shared<E> {
    executor: E,
    core: Arc<Node>,
}

impl<E> Tasks<E> {
    pub(super) fn new(executor: E, core: Arc<Node>) -> Self {
        Self(Arc::new(Shared { executor, core }))
    }
}

impl<E, T> Executor<T> for Tasks<E>
where
    E: Executor<Cut<T>>,
    T: Future<Output = ()>,
{
    fn execute(&self, task: T) {
        self.0.executor.execute(Cut::new(&self.0.core, task));
    }
}

impl<E> Clone for Tasks<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

pin_project! {
    /// A task that ends when aborting begins.
    #[must_use = "futures do nothing unless polled"]
    pub struct Cut<T> {
        #[pin]
        task: Option<T>,
        // Made when the task has to wait: most HTTP/2 streams never do.
        aborting: Option<UntilAborting>,
        // Kept if it is the task of a tunnel over HTTP/2 (Z6).
        tunnel: Option<Tunnel>,
        // The last to go. Without one the drain is drained, and the task is over before it has begun.
        hold: Option<Presence>,
    }
}

impl<T> Cut<T> {
    fn new(core: &Node, task: T) -> Self {
        Self {
            task: Some(task),
            aborting: None,
            tunnel: Tunnel::next(),
            hold: core.presence_for_task(),
        }
    }
}

impl<T: Future<Output = ()>> Future for Cut<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let (Some(task), Some(hold)) = (this.task.as_mut().as_pin_mut(), &this.hold) {
            let core = hold.node();
            if !core.latch.is(Phase::Aborting) && task.poll(cx).is_pending() {
                let aborting = (this.aborting).get_or_insert_with(|| UntilAborting::new(core));
                ready!(Pin::new(aborting).poll(cx));
            }
        }
        // Cut or done, it is over.
        this.task.set(None);
        *this.tunnel = None;
        *this.hold = None;
        Poll::Ready(())
    }
}

macro_rules! debug {
    ($($name:ident),*) => {$(
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

debug!(SendSpawner, LocalSpawner, Tasks, Cut);
