use std::io::IoSlice;

use ::hyper::body::{Buf, Bytes};

use super::activity::Buffered;

/// Data of an answer. Over HTTP/2, the request is unanswered until h2, which buffers the data, has
/// written it.
#[derive(Debug)]
pub struct ResponseData<D> {
    data: D,
    /// Set over HTTP/2: hyper drops a body once h2 has all of it, however little of it has been
    /// written.
    _buffered: Option<Buffered>,
}

impl<D> ResponseData<D> {
    pub(super) fn new(data: D, buffered: Option<Buffered>) -> Self {
        Self {
            data,
            _buffered: buffered,
        }
    }
}

impl<D: Buf> Buf for ResponseData<D> {
    #[inline]
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }

    #[inline]
    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(into)
    }

    #[inline]
    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        self.data.copy_to_bytes(count)
    }
}
