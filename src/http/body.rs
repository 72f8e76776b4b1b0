use std::fmt;

use pin_project_lite::pin_project;

pin_project! {
    /// The body of an answer, whose request is in flight until the body is dropped.
    pub struct Answer<B, K> {
        // Before what is kept, to be dropped before it.
        #[pin]
        pub(crate) body: B,
        pub(crate) kept: Option<K>,
    }
}

impl<B, K> Answer<B, K> {
    pub(super) fn new(body: B, kept: Option<K>) -> Self {
        Self { body, kept }
    }
}

impl<B: fmt::Debug, K> fmt::Debug for Answer<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// Lets a body through unchanged, but for its frames.
macro_rules! forward_body {
    () => {
        #[inline]
        fn is_end_stream(&self) -> bool {
            self.body.is_end_stream()
        }

        #[inline]
        fn size_hint(&self) -> SizeHint {
            self.body.size_hint()
        }
    };
}

pub(crate) use forward_body;
