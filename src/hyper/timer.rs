use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use ::hyper::rt::{Sleep, Timer};

/// Lets hyper use the timers of async-io's reactor (Z13).
#[derive(Clone, Copy, Debug)]
pub(super) struct ReactorTimer;

struct ReactorSleep(async_io::Timer);

impl Timer for ReactorTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(ReactorSleep(async_io::Timer::after(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(ReactorSleep(async_io::Timer::at(deadline)))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<ReactorSleep>() {
            Some(mut sleep) => sleep.0.set_at(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

impl Sleep for ReactorSleep {}

impl Future for ReactorSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}
