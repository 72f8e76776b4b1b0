use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::hyper::rt::Executor;
use pin_project_lite::pin_project;

use super::activity::Tunnel;
use crate::{
    Phase,
    drain::{node::Node, presence::Presence},
    futures::UntilAborting,
};

/// A task for an executor with several threads.
pub(super) type SendTask = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task for an executor of one thread.
pub(super) type LocalTask = Pin<Box<dyn Future<Output = ()>>>;

/// Boxes each task for the function given to [`Server::new`](super::Server::new).
pub struct SendSpawner<F>(pub(super) F);

/// Boxes each task for the function given to [`Server::local`](super::Server::local).
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
/// The tasks end when aborting begins. Until then they keep the drain from being drained (Z12).
pub struct Tasks<E>(Arc<Shared<E>>);

/// The executor that all connections share.
struct Shared<E> {
    executor: E,
    node: Arc<Node>,
}

impl<E> Tasks<E> {
    pub(super) fn new(executor: E, node: &Arc<Node>) -> Self {
        let node = Arc::clone(node);
        Self(Arc::new(Shared { executor, node }))
    }
}

impl<E, T> Executor<T> for Tasks<E>
where
    E: Executor<UntilAborted<T>>,
    T: Future<Output = ()>,
{
    fn execute(&self, task: T) {
        self.0
            .executor
            .execute(UntilAborted::new(&self.0.node, task));
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
    pub struct UntilAborted<T> {
        #[pin]
        task: Option<T>,
        // Set when the task first has to wait: most HTTP/2 streams never do.
        aborting: Option<UntilAborting>,
        // Set if it is the task of a tunnel over HTTP/2 (Z6).
        tunnel: Option<Tunnel>,
        // Dropped last. `None` if the drain was already drained: the task is never polled.
        presence: Option<Presence>,
    }
}

impl<T> UntilAborted<T> {
    fn new(node: &Arc<Node>, task: T) -> Self {
        Self {
            task: Some(task),
            aborting: None,
            tunnel: Tunnel::next(),
            presence: Node::presence_for_task(node),
        }
    }
}

impl<T: Future<Output = ()>> Future for UntilAborted<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if let (Some(task), Some(presence)) = (this.task.as_mut().as_pin_mut(), &this.presence) {
            let node = presence.node();
            if !node.latch.is(Phase::Aborting) && task.poll(cx).is_pending() {
                let aborting = (this.aborting).get_or_insert_with(|| UntilAborting::new(node));
                ready!(Pin::new(aborting).poll(cx));
            }
        }
        this.task.set(None);
        *this.tunnel = None;
        *this.presence = None;
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

debug!(SendSpawner, LocalSpawner, Tasks, UntilAborted);
