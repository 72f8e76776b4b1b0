pub(super) use async_drain_sys::signal::{Counting, default_while as default_action};
