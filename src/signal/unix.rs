pub(super) use async_drain_os::signal::{Counting, default_while as default_action};
