//! Futures, streams and IO that carry guards or end with a phase.

use std::{
    future::{Future, pending, ready as ready_now},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use async_drain::{Aborted, Drain, Guard, Phase};
use futures_core::{FusedFuture, FusedStream};
use futures_lite::{
    AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, Stream, StreamExt,
    future::block_on,
    io::{BufWriter, Cursor},
    stream,
};

use testkit::polling::{OnDrop, Wakes, poll};

/// Returns a future that is pending for ever. When dropped, it asserts that its guard's drain is
/// not drained yet, and sets the flag.
fn witness(drain: &Drain) -> (Arc<AtomicBool>, impl Future<Output = ()> + use<>) {
    let gone = Arc::new(AtomicBool::new(false));
    let drain = drain.clone();
    let on_drop = OnDrop({
        let gone = Arc::clone(&gone);
        move || {
            assert_ne!(drain.phase(), Phase::Drained);
            gone.store(true, Ordering::SeqCst);
        }
    });
    let future = async move {
        let _on_drop = on_drop;
        pending::<()>().await;
    };
    (gone, future)
}

/// S2: a guarded future holds its guard until it is dropped, done or not; the future is dropped
/// before the guard.
#[test]
fn a_guarded_future_holds_its_guard() {
    let drain = Drain::new();
    let (gone, work) = witness(&drain);
    let mut work = Box::pin(drain.guard().unwrap().wrap(work));
    let mut done = Box::pin(drain.guard().unwrap().wrap(ready_now(42)));
    drain.begin();
    assert!(poll(work.as_mut(), Waker::noop()).is_pending());
    assert_eq!(poll(done.as_mut(), Waker::noop()), Poll::Ready(42));
    assert_eq!(drain.in_flight(), 2);
    drop(done);
    assert_eq!(drain.in_flight(), 1);
    drop(work);
    assert!(gone.load(Ordering::SeqCst));
    assert_eq!(drain.phase(), Phase::Drained);
}

/// A guarded stream yields what the stream inside yields.
#[test]
fn a_guarded_stream_yields_what_it_wraps() {
    let drain = Drain::new();
    let mut numbers = drain.guard().unwrap().wrap(stream::iter([1, 2, 3]));
    assert_eq!(numbers.size_hint(), (3, Some(3)));
    assert_eq!(block_on(numbers.next()), Some(1));
    drain.begin();
    assert!(numbers.guard().is_draining());
    assert_eq!(block_on(numbers.collect::<Vec<_>>()), [2, 3]);
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Guarded IO reads, writes and seeks as the IO inside does; a writer is wrapped by hand.
#[test]
fn guarded_io_reads_writes_and_seeks() {
    let drain = Drain::new();
    let guard = || drain.guard().unwrap();
    block_on(async {
        let mut text = String::new();
        let mut reader = guard().wrap(Cursor::new(b"one\ntwo\n".to_vec()));
        reader.read_line(&mut text).await.unwrap();
        assert_eq!(text, "one\n");
        let mut rest = String::new();
        reader.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "two\n");
        assert_eq!(reader.seek(std::io::SeekFrom::Start(4)).await.unwrap(), 4);
        rest.clear();
        reader.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "two\n");

        let mut writer = guard().wrap(Vec::new());
        writer.write_all(b"abc").await.unwrap();
        let parts = [std::io::IoSlice::new(b"d"), std::io::IoSlice::new(b"ef")];
        assert_eq!(writer.write_vectored(&parts).await.unwrap(), 3);
        writer.get_mut().push(b'!');
        assert_eq!(writer.get_ref(), b"abcdef!");
        let (bytes, guard) = writer.into_parts();
        assert_eq!((bytes.len(), guard.is_draining()), (7, false));

        let mut buffered = guard.wrap(BufWriter::new(Vec::new()));
        buffered.write_all(b"flushed").await.unwrap();
        buffered.flush().await.unwrap();
        assert_eq!(buffered.get_ref().get_ref(), b"flushed");
        buffered.write_all(b", closed").await.unwrap();
        buffered.close().await.unwrap();
        assert_eq!(buffered.get_ref().get_ref(), b"flushed, closed");
    });
    let mut reader = guard().wrap(Cursor::new(b"xyz".to_vec()));
    let mut bytes = [0; 3];
    let (a, b) = bytes.split_at_mut(1);
    let mut parts = [std::io::IoSliceMut::new(a), std::io::IoSliceMut::new(b)];
    assert_eq!(block_on(reader.read_vectored(&mut parts)).unwrap(), 3);
    assert_eq!(&bytes, b"xyz");
    drop(reader);
    assert_eq!(drain.in_flight(), 0);
}

/// L1: a future that runs until draining is woken by it, yields `None`, and is dropped in that
/// poll.
#[test]
fn a_future_ends_when_draining_begins() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    let (gone, future) = witness(&drain);
    let mut future = Box::pin(drain.run_until_draining(future));
    let (woken, waker) = Wakes::new();
    assert!(poll(future.as_mut(), &waker).is_pending());
    drain.begin();
    assert_eq!(woken.count(), 1);
    assert_eq!(poll(future.as_mut(), &waker), Poll::Ready(None));
    assert!(gone.load(Ordering::SeqCst));
    assert_eq!(poll(future.as_mut(), &waker), Poll::Ready(None));
    drop(work);
}

/// A future that is done before the phase yields its output; the phase is checked first.
#[test]
fn a_future_that_is_done_first_yields_its_output() {
    let drain = Drain::new();
    assert_eq!(block_on(drain.run_until_draining(ready_now(1))), Some(1));
    assert_eq!(block_on(drain.run_until_aborting(ready_now(1))), Ok(1));
    let work = drain.guard().unwrap();
    drain.begin();
    assert_eq!(block_on(drain.run_until_draining(ready_now(1))), None);
    assert_eq!(block_on(work.run_until_aborting(ready_now(1))), Ok(1));
    drain.abort();
    assert_eq!(
        block_on(work.run_until_aborting(ready_now(1))),
        Err(aborted())
    );
}

/// C4: work that ends in its first poll is not registered for the phase: nothing clones its waker.
#[test]
fn work_that_ends_at_once_is_not_registered() {
    let drain = Drain::new();
    let (woken, waker) = Wakes::new();
    let owners = Arc::strong_count(&woken);
    let mut done = drain.run_until_draining(ready_now(1));
    let mut late = drain.run_until_draining(pending::<()>());
    assert!(poll(pin!(&mut done), &waker).is_ready());
    assert_eq!(Arc::strong_count(&woken), owners);
    assert!(poll(pin!(&mut late), &waker).is_pending());
    assert_eq!(Arc::strong_count(&woken), owners + 1);

    let mut items = drain.run_until_aborting(stream::repeat(()));
    assert!(poll(pin!(items.next()), &waker).is_ready());
    assert_eq!(Arc::strong_count(&woken), owners + 1);
}

/// A stream that carries a guard is terminated when the stream in it is.
#[test]
fn a_guarded_stream_is_terminated_with_its_stream() {
    let drain = Drain::new();
    let mut ticks = drain
        .guard()
        .unwrap()
        .wrap(drain.run_until_draining(stream::once(1)));
    assert!(!FusedStream::is_terminated(&ticks));
    assert_eq!(block_on(ticks.next()), Some(1));
    assert_eq!(block_on(ticks.next()), None);
    assert!(FusedStream::is_terminated(&ticks));
}

/// L1: a wrapper is terminated once it was ready, by itself or because of the phase, and not
/// before.
#[test]
fn a_wrapper_is_terminated_once_it_has_answered() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let waker = Waker::noop();
    let mut early = drain.run_until_draining(ready_now(1));
    let mut late = drain.run_until_draining(pending::<()>());
    let mut early_abort = drain.run_until_aborting(ready_now(1));
    let mut late_abort = drain.run_until_aborting(pending::<()>());
    let mut one = drain.run_until_draining(stream::once(1));
    let mut one_abort = drain.run_until_aborting(stream::once(1));
    let mut ticks = drain.run_until_draining(stream::repeat(()));
    let mut ticks_abort = drain.run_until_aborting(stream::repeat(()));

    assert_eq!(
        block_on(async { (one.next().await, one_abort.next().await) }),
        (Some(1), Some(Ok(1)))
    );
    assert!(!FusedStream::is_terminated(&one) && !FusedStream::is_terminated(&one_abort));
    assert_eq!(
        block_on(async { (one.next().await, one_abort.next().await) }),
        (None, None)
    );
    assert!(FusedStream::is_terminated(&one) && FusedStream::is_terminated(&one_abort));

    assert!(!early.is_terminated() && !early_abort.is_terminated());
    assert_eq!(poll(pin!(&mut early), waker), Poll::Ready(Some(1)));
    assert_eq!(poll(pin!(&mut early_abort), waker), Poll::Ready(Ok(1)));
    assert!(early.is_terminated() && early_abort.is_terminated());
    assert_eq!(poll(pin!(&mut early), waker), Poll::Ready(None));

    drain.abort();
    assert!(!late.is_terminated() && !late_abort.is_terminated());
    assert!(!FusedStream::is_terminated(&ticks) && !FusedStream::is_terminated(&ticks_abort));
    assert_eq!(poll(pin!(&mut late), waker), Poll::Ready(None));
    assert_eq!(
        poll(pin!(&mut late_abort), waker),
        Poll::Ready(Err(aborted()))
    );
    assert_eq!(block_on(ticks.next()), None);
    assert_eq!(block_on(ticks_abort.next()), Some(Err(aborted())));
    assert!(late.is_terminated() && late_abort.is_terminated());
    assert!(FusedStream::is_terminated(&ticks) && FusedStream::is_terminated(&ticks_abort));

    let mut guarded = guard.wrap(drain.until_aborting());
    assert!(!guarded.is_terminated());
    assert!(poll(pin!(&mut guarded), waker).is_ready());
    assert!(guarded.is_terminated());
}

/// L1: a future that runs until aborting is woken by aborting, not by draining, and is dropped in
/// that poll.
#[test]
fn a_future_is_cut_when_aborting_begins() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let (gone, future) = witness(&drain);
    let mut future = Box::pin(guard.run_until_aborting(future));
    let (woken, waker) = Wakes::new();
    assert!(poll(future.as_mut(), &waker).is_pending());
    drain.begin();
    assert_eq!(woken.count(), 0);
    assert!(poll(future.as_mut(), &waker).is_pending());
    drain.abort();
    assert_eq!(woken.count(), 1);
    assert_eq!(poll(future.as_mut(), &waker), Poll::Ready(Err(aborted())));
    assert!(gone.load(Ordering::SeqCst));
    assert_eq!(poll(future.as_mut(), &waker), Poll::Ready(Err(aborted())));
}

/// A stream that is always ready ends too, and is dropped then.
#[test]
fn a_stream_ends_when_draining_begins() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let mut ticks = guard.run_until_draining(stream::repeat(()));
    assert_eq!(ticks.size_hint(), (0, None));
    assert_eq!(block_on(ticks.next()), Some(()));
    drain.begin();
    assert_eq!(block_on(ticks.next()), None);
    assert_eq!(block_on(ticks.next()), None);
    assert_eq!(ticks.size_hint(), (0, Some(0)));
    let mut short = Drain::new().child().run_until_draining(stream::once(1));
    assert_eq!(block_on(short.next()), None, "its drain has no handle left");
    drop(guard);
}

/// A stream that was cut yields one error; a stream that ended by itself yields none.
#[test]
fn a_cut_stream_does_not_look_like_one_that_ended() {
    let drain = Drain::new();
    let _guard = drain.guard().unwrap();
    let mut short = drain.run_until_aborting(stream::iter([1]));
    let mut long = drain.run_until_aborting(stream::iter([1, 2]));
    assert_eq!(long.size_hint(), (0, Some(3)));
    assert_eq!(block_on(short.next()), Some(Ok(1)));
    assert_eq!(block_on(long.next()), Some(Ok(1)));
    assert_eq!(block_on(short.next()), None);
    drain.abort();
    assert_eq!(block_on(short.next()), None);
    assert_eq!(block_on(long.next()), Some(Err(aborted())));
    assert_eq!(block_on(long.next()), None);
    assert_eq!(long.size_hint(), (0, Some(1)));
    assert_eq!(aborted().to_string(), "cancelled: the drain is aborting");
}

/// S2: a stream that owns its guard is dropped when it is cut, so that the drain does not wait for
/// it.
#[test]
fn a_cut_stream_gives_its_guard_up() {
    struct Feed(Guard);
    impl Stream for Feed {
        type Item = bool;
        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<bool>> {
            Poll::Ready(Some(self.0.is_draining()))
        }
    }
    let drain = Drain::new();
    let mut feed = pin!(drain.run_until_aborting(Feed(drain.guard().unwrap())));
    assert_eq!(block_on(feed.next()), Some(Ok(false)));
    drain.begin();
    assert_eq!(block_on(feed.next()), Some(Ok(true)));
    drain.abort();
    assert_eq!(block_on(feed.next()), Some(Err(aborted())));
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Returns the error of work that is cut.
fn aborted() -> Aborted {
    let drain = Drain::new();
    drain.abort();
    block_on(drain.run_until_aborting(pending::<()>())).unwrap_err()
}
