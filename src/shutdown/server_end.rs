//! What the future of a server or of a step may resolve to.

use std::{convert::Infallible, error::Error};

/// What the future of a server or of a [step](crate::Shutdown::then) resolves to: `()`, a `Result`,
/// or a type without values.
///
/// [`Shutdown::run`](crate::Shutdown::run) reports the error of a server or step that fails.
#[diagnostic::on_unimplemented(
    message = "a server or step can't end with `{Self}`",
    label = "it must end with `()` or a `Result`, or never",
    note = "end it with `Ok::<(), std::io::Error>(())` or with `;`"
)]
pub trait ServerEnd {
    /// Returns why the server or step failed; `None` if it didn't.
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>>;
}

impl ServerEnd for () {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        None
    }
}

impl ServerEnd for Infallible {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        match self {}
    }
}

/// The output of `async { loop { .. } }` and `async fn serve() -> !`.
impl ServerEnd for never::Never {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        self
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> ServerEnd for Result<T, E> {
    fn failure(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.err().map(Into::into)
    }
}

/// The type `!`, which stable Rust names only as the output of a function that does not return.
mod never {
    pub(super) type Never = <fn() -> ! as Returns>::Output;

    /// Names what a function returns.
    pub trait Returns {
        type Output;
    }

    impl<T> Returns for fn() -> T {
        type Output = T;
    }
}
