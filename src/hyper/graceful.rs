use std::{future::Future, pin::Pin};

/// A connection that can be asked to end: hyper's, or one of your own.
///
/// ```
/// use std::{convert::Infallible, pin::Pin, task::{Context, Poll}};
/// use async_drain::hyper::GracefulConnection;
///
/// /// Ends when it is asked to.
/// struct Obedient(bool);
///
/// impl Future for Obedient {
///     type Output = Result<(), Infallible>;
///
///     fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
///         if self.0 { Poll::Ready(Ok(())) } else { Poll::Pending }
///     }
/// }
///
/// impl GracefulConnection for Obedient {
///     type Error = Infallible;
///
///     fn graceful_shutdown(mut self: Pin<&mut Self>) {
///         self.0 = true;
///     }
/// }
/// ```
pub trait GracefulConnection: Future<Output = Result<(), Self::Error>> {
    /// The error that the connection fails with.
    type Error;

    /// Asks the connection to end after its current work; it is polled again afterwards.
    fn graceful_shutdown(self: Pin<&mut Self>);

    /// Returns whether `error` only says that the connection did as it was asked.
    fn is_cancelled(_error: &Self::Error) -> bool {
        false
    }
}

/// The error of a service or a body; it ends the connection.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

mod http1 {
    use super::{BoxError, GracefulConnection, Pin};
    use ::hyper::{
        body::{Body, Incoming},
        rt::{Read, Write},
        server::conn::http1::{Connection, UpgradeableConnection},
        service::HttpService,
    };

    impl<I, B, S> GracefulConnection for Connection<I, S>
    where
        S: HttpService<Incoming, ResBody = B>,
        S::Error: Into<BoxError>,
        I: Read + Write + Unpin,
        B: Body + 'static,
        B::Error: Into<BoxError>,
    {
        type Error = ::hyper::Error;

        fn graceful_shutdown(self: Pin<&mut Self>) {
            Connection::graceful_shutdown(self);
        }
    }

    impl<I, B, S> GracefulConnection for UpgradeableConnection<I, S>
    where
        S: HttpService<Incoming, ResBody = B>,
        S::Error: Into<BoxError>,
        I: Read + Write + Unpin + Send + 'static,
        B: Body + 'static,
        B::Error: Into<BoxError>,
    {
        type Error = ::hyper::Error;

        fn graceful_shutdown(self: Pin<&mut Self>) {
            UpgradeableConnection::graceful_shutdown(self);
        }
    }
}

mod http2 {
    use super::{BoxError, GracefulConnection, Pin};
    use ::hyper::{
        body::{Body, Incoming},
        rt::{Read, Write, bounds::Http2ServerConnExec},
        server::conn::http2::Connection,
        service::HttpService,
    };

    impl<I, B, S, E> GracefulConnection for Connection<I, S, E>
    where
        S: HttpService<Incoming, ResBody = B>,
        S::Error: Into<BoxError>,
        I: Read + Write + Unpin,
        B: Body + 'static,
        B::Error: Into<BoxError>,
        E: Http2ServerConnExec<S::Future, B>,
    {
        type Error = ::hyper::Error;

        fn graceful_shutdown(self: Pin<&mut Self>) {
            Connection::graceful_shutdown(self);
        }
    }
}

mod auto {
    use super::{BoxError, GracefulConnection, Pin};
    use ::hyper::{
        Request, Response,
        body::{Body, Incoming},
        rt::{Read, Write},
        service::Service,
    };
    use hyper_util::server::conn::auto::{Connection, HttpServerConnExec, UpgradeableConnection};

    /// Returns whether `auto` has ended a connection before it had read the version of HTTP.
    fn is_interrupted(error: &BoxError) -> bool {
        error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::Interrupted)
    }

    macro_rules! graceful {
        ($connection:ident $(, $send:ident)?) => {
            impl<I, S, E, B> GracefulConnection for $connection<'_, I, S, E>
            where
                S: Service<Request<Incoming>, Response = Response<B>>,
                S::Future: 'static,
                S::Error: Into<BoxError>,
                B: Body + 'static,
                B::Error: Into<BoxError>,
                I: Read + Write + Unpin $(+ $send)? + 'static,
                E: HttpServerConnExec<S::Future, B>,
            {
                type Error = BoxError;

                fn graceful_shutdown(self: Pin<&mut Self>) {
                    $connection::graceful_shutdown(self);
                }

                fn is_cancelled(error: &BoxError) -> bool {
                    is_interrupted(error)
                }
            }
        };
    }

    graceful!(Connection);
    graceful!(UpgradeableConnection, Send);
}
