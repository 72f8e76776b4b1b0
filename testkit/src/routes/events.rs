//! Server-sent events.

use std::time::{Duration, Instant};

use async_drain::Observer;
use futures_lite::{Stream, StreamExt, stream};
use smol::Timer;

/// Ticks until draining begins, and then tells by when the client must have gone (Z7).
pub fn events(pause: Duration, until: Observer) -> impl Stream<Item = String> + use<> {
    let ticks = stream::repeat("data: tick\n\n").then(move |tick| async move {
        Timer::after(pause).await;
        tick.to_owned()
    });
    until
        .run_until_draining(ticks)
        .chain(stream::once_future(async move {
            let left = until
                .deadline()
                .map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match left {
                Some(left) => format!("event: leaving\ndata: {}\n\n", left.as_millis()),
                None => "event: leaving\ndata: never\n\n".to_owned(),
            }
        }))
}
