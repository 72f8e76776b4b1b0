use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::{FusedFuture, FusedStream, Stream};
use pin_project_lite::pin_project;

use crate::{UntilAborting, UntilDraining};

pin_project! {
    /// Ends once draining begins; made by [`DrainExt::until_draining`](crate::DrainExt::until_draining).
    #[derive(Debug)]
    #[must_use = "futures and streams do nothing unless polled"]
    pub struct TakeUntilDraining<T> {
        #[pin]
        inner: Option<T>,
        draining: UntilDraining,
    }
}

impl<T> TakeUntilDraining<T> {
    pub(crate) fn new(inner: T, draining: UntilDraining) -> Self {
        Self {
            inner: Some(inner),
            draining,
        }
    }
}

impl<F: Future> Future for TakeUntilDraining<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if Pin::new(this.draining).poll(cx).is_ready() {
            this.inner.set(None);
        }
        let output = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => Some(ready!(inner.poll(cx))),
            None => None,
        };
        this.inner.set(None);
        Poll::Ready(output)
    }
}

/// Terminated once it has answered. A further poll yields `None`.
impl<F: Future> FusedFuture for TakeUntilDraining<F> {
    fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }
}

impl<S: Stream> Stream for TakeUntilDraining<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        if Pin::new(this.draining).poll(cx).is_ready() {
            this.inner.set(None);
        }
        let item = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => ready!(inner.poll_next(cx)),
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
impl<S: Stream> FusedStream for TakeUntilDraining<S> {
    fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }
}

pin_project! {
    /// Cut once aborting begins; made by [`DrainExt::until_aborting`](crate::DrainExt::until_aborting).
    #[derive(Debug)]
    #[must_use = "futures and streams do nothing unless polled"]
    pub struct TakeUntilAborting<T> {
        #[pin]
        inner: Option<T>,
        aborting: UntilAborting,
    }
}

impl<T> TakeUntilAborting<T> {
    pub(crate) fn new(inner: T, aborting: UntilAborting) -> Self {
        Self {
            inner: Some(inner),
            aborting,
        }
    }
}

impl<F: Future> Future for TakeUntilAborting<F> {
    type Output = Result<F::Output, Aborted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if Pin::new(this.aborting).poll(cx).is_ready() {
            this.inner.set(None);
        }
        let output = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => Ok(ready!(inner.poll(cx))),
            None => Err(Aborted),
        };
        this.inner.set(None);
        Poll::Ready(output)
    }
}

/// Terminated once it has answered. A further poll yields [`Aborted`].
impl<F: Future> FusedFuture for TakeUntilAborting<F> {
    fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }
}

impl<S: Stream> Stream for TakeUntilAborting<S> {
    /// An error only once, as the last item: a stream that was cut must not look like one that has ended.
    type Item = Result<S::Item, Aborted>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        if this.inner.is_none() {
            return Poll::Ready(None);
        }
        if Pin::new(this.aborting).poll(cx).is_ready() {
            this.inner.set(None);
            return Poll::Ready(Some(Err(Aborted)));
        }
        let item = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => ready!(inner.poll_next(cx)),
            None => None,
        };
        if item.is_none() {
            this.inner.set(None);
        }
        Poll::Ready(item.map(Ok))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let most = self.inner.as_ref().map_or(Some(0), |s| s.size_hint().1);
        (0, most.and_then(|most| most.checked_add(1)))
    }
}

/// Terminated once it has ended or been cut.
impl<S: Stream> FusedStream for TakeUntilAborting<S> {
    fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }
}

/// The work was cut, because aborting had begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("aborted by the drain")
    }
}

impl Error for Aborted {}
