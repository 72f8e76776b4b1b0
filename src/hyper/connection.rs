use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::hyper::{body::Incoming, service};
use futures_io::{AsyncRead, AsyncWrite};
use hyper_util::server::conn::auto::{Builder, HttpServerConnExec, UpgradeableConnection};
use pin_project_lite::pin_project;

use super::{
    activity::{Activity, Unanswered},
    closing::Closing,
    handshake::Handshake,
    http_service::HttpService,
    io::Io,
    service::{Call, DrainService},
    watch::Watch,
};
use crate::{
    drain::connection_guard::ConnectionGuard,
    http::{Answer, Respond},
    net::Delivery,
};

pin_project! {
    /// The task of a connection of a [`Server`](super::Server), from accept to close.
    #[must_use = "futures do nothing unless polled"]
    pub struct Connection<H, C, S, E>
    where
        H: Handshake<C>,
        DrainService<S>: service::HttpService<Incoming>,
        E: 'static,
    {
        #[pin]
        stage: Stage<H, C, S, E>,
        // Taken when the serving stage begins.
        start: Option<Start<S, E>>,
        // The guard is dropped last, after the stage, which owns the socket (Z5).
        closing: Option<(Closing, ConnectionGuard)>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<H, C, S, E>
    where
        H: Handshake<C>,
        DrainService<S>: service::HttpService<Incoming>,
        E: 'static,
    {
        // The handshake begins in the connection's own task, so that a panic ends nothing else
        // (Z11).
        Accepted { accepted: Option<(Arc<H>, C)> },
        Handshake { #[pin] handshake: H::Future },
        Serving { #[pin] watch: Watch<UpgradeableConnection<'static, Io<H::Io>, DrainService<S>, E>> },
        Over,
    }
}

/// What the connection is served with after the handshake.
pub(super) struct Start<S, E> {
    pub(super) activity: Activity,
    pub(super) delivery: Arc<Delivery>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) service: S,
    pub(super) builder: Arc<Builder<E>>,
}

impl<H, C, S, E> Connection<H, C, S, E>
where
    H: Handshake<C>,
    DrainService<S>: service::HttpService<Incoming>,
    E: 'static,
{
    pub(super) fn new(
        handshake: Arc<H>,
        conn: C,
        start: Start<S, E>,
        closing: Closing,
        guard: ConnectionGuard,
    ) -> Self {
        Self {
            stage: Stage::Accepted {
                accepted: Some((handshake, conn)),
            },
            start: Some(start),
            closing: Some((closing, guard.abandoned_if_dropped())),
        }
    }
}

impl<H, C, S, E> Future for Connection<H, C, S, E>
where
    H: Handshake<C>,
    S: HttpService,
    E: HttpServerConnExec<
            Respond<Call<S, Incoming>, Unanswered>,
            Answer<S::ResponseBody, Unanswered>,
        > + 'static,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProj::Accepted { accepted } => {
                    let Some((handshake, conn)) = accepted.take() else {
                        // The handshake has panicked.
                        return Poll::Pending;
                    };
                    if let Some((_, guard)) = this.closing {
                        // No request has been accepted yet: a handshake that is dropped loses none.
                        guard.rest();
                    }
                    let handshake = handshake.handshake(conn);
                    this.stage.set(Stage::Handshake { handshake });
                }
                StageProj::Handshake { handshake } => {
                    let conn = match (handshake.poll(cx), this.closing.as_mut()) {
                        (Poll::Ready(Ok(conn)), _) => Some(conn),
                        (Poll::Ready(Err(_)), _) | (_, None) => None,
                        (Poll::Pending, Some((closing, _))) => {
                            ready!(closing.poll_handshake(cx));
                            None
                        }
                    };
                    match (conn, this.start.take(), this.closing.take()) {
                        (Some(conn), Some(start), Some((mut closing, mut guard))) => {
                            closing.handshake_done();
                            guard.work();
                            let watch = start.serve(conn, closing, guard);
                            this.stage.set(Stage::Serving { watch });
                        }
                        (_, _, guarded) => {
                            this.stage.set(Stage::Over);
                            drop(guarded);
                        }
                    }
                }
                StageProj::Serving { watch } => {
                    // The failure of a connection affects only its peer, which notices it.
                    let _ = ready!(watch.poll(cx));
                    this.stage.set(Stage::Over);
                }
                StageProj::Over => return Poll::Ready(()),
            }
        }
    }
}

impl<S, E> Start<S, E> {
    fn serve<I>(
        self,
        conn: I,
        closing: Closing,
        guard: ConnectionGuard,
    ) -> Watch<UpgradeableConnection<'static, Io<I>, DrainService<S>, E>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: HttpService,
        E: HttpServerConnExec<
                Respond<Call<S, Incoming>, Unanswered>,
                Answer<S::ResponseBody, Unanswered>,
            > + 'static,
    {
        let io = self.activity.io_lingering(conn, self.delivery);
        let service = self.activity.service(self.service).peer(self.peer);
        let conn = self.builder.serve_connection_with_upgrades(io, service);
        Watch::new(conn.into_owned(), closing, Some(guard)).activity(self.activity)
    }
}

impl<H, C, S, E> fmt::Debug for Connection<H, C, S, E>
where
    H: Handshake<C>,
    DrainService<S>: service::HttpService<Incoming>,
    E: 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field(
                "stage",
                &match self.stage {
                    Stage::Accepted { .. } => "accepted",
                    Stage::Handshake { .. } => "handshake",
                    Stage::Serving { .. } => "serving",
                    Stage::Over => "over",
                },
            )
            .finish_non_exhaustive()
    }
}
