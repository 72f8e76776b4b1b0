use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::{FusedFuture, FusedStream, Stream};
use pin_project_lite::pin_project;

use crate::{
    Aborted,
    futures::{UntilAborting, UntilDraining},
};

pin_project! {
    /// Runs a future or a stream until draining begins; returned by
    /// [`Drain::run_until_draining`](crate::Drain::run_until_draining).
    #[derive(Debug)]
    #[must_use = "futures and streams do nothing unless polled"]
    pub struct RunUntilDraining<T> {
        #[pin]
        inner: Option<T>,
        draining: UntilDraining,
    }
}

impl<T> RunUntilDraining<T> {
    pub(crate) fn new(inner: T, draining: UntilDraining) -> Self {
        Self {
            inner: Some(inner),
            draining,
        }
    }
}

impl<F: Future> Future for RunUntilDraining<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.draining.is_reached() {
            this.inner.set(None);
        }
        let output = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => match inner.poll(cx) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => {
                    ready!(Pin::new(this.draining).poll(cx));
                    None
                }
            },
            None => None,
        };
        this.inner.set(None);
        Poll::Ready(output)
    }
}

/// Terminated once it has completed. A later poll yields `None`.
impl<F: Future> FusedFuture for RunUntilDraining<F> {
    fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }
}

impl<S: Stream> Stream for RunUntilDraining<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        if this.draining.is_reached() {
            this.inner.set(None);
        }
        let item = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => match inner.poll_next(cx) {
                Poll::Ready(item) => item,
                Poll::Pending => {
                    ready!(Pin::new(this.draining).poll(cx));
                    None
                }
            },
            None => None,
        };
        if item.is_none() {
            this.inner.set(None);
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let most = self.inner.as_ref().map_or(Some(0), |s| s.size_hint().1);
        (0, most)
    }
}

/// Terminated once it has ended.
impl<S: Stream> FusedStream for RunUntilDraining<S> {
    fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }
}

pin_project! {
    /// Runs a future or a stream until aborting begins; returned by
    /// [`Drain::run_until_aborting`](crate::Drain::run_until_aborting).
    #[derive(Debug)]
    #[must_use = "futures and streams do nothing unless polled"]
    pub struct RunUntilAborting<T> {
        #[pin]
        inner: Option<T>,
        aborting: UntilAborting,
    }
}

impl<T> RunUntilAborting<T> {
    pub(crate) fn new(inner: T, aborting: UntilAborting) -> Self {
        Self {
            inner: Some(inner),
            aborting,
        }
    }
}

impl<F: Future> Future for RunUntilAborting<F> {
    type Output = Result<F::Output, Aborted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.aborting.is_reached() {
            this.inner.set(None);
        }
        let output = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => match inner.poll(cx) {
                Poll::Ready(output) => Ok(output),
                Poll::Pending => {
                    ready!(Pin::new(this.aborting).poll(cx));
                    Err(Aborted)
                }
            },
            None => Err(Aborted),
        };
        this.inner.set(None);
        Poll::Ready(output)
    }
}

/// Terminated once it has completed. A later poll yields [`Aborted`].
impl<F: Future> FusedFuture for RunUntilAborting<F> {
    fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }
}

impl<S: Stream> Stream for RunUntilAborting<S> {
    /// An error only once, as the last item: a stream that was cut must not look like one that has
    /// ended.
    type Item = Result<S::Item, Aborted>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        if this.inner.is_none() {
            return Poll::Ready(None);
        }
        if this.aborting.is_reached() {
            this.inner.set(None);
            return Poll::Ready(Some(Err(Aborted)));
        }
        let item = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => match inner.poll_next(cx) {
                Poll::Ready(item) => item.map(Ok),
                Poll::Pending => {
                    ready!(Pin::new(this.aborting).poll(cx));
                    this.inner.set(None);
                    Some(Err(Aborted))
                }
            },
            None => None,
        };
        if item.is_none() {
            this.inner.set(None);
        }
        Poll::Ready(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let most = self.inner.as_ref().map_or(Some(0), |s| s.size_hint().1);
        (0, most.and_then(|most| most.checked_add(1)))
    }
}

/// Terminated once it has ended or was cancelled.
impl<S: Stream> FusedStream for RunUntilAborting<S> {
    fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }
}
