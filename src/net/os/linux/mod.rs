//! What Linux can do beyond the other systems, Android included.

mod acknowledged;
// Only groups, which Android doesn't have, use all of it.
#[cfg_attr(target_os = "android", allow(dead_code))]
pub(crate) mod connection_requests;
#[cfg(target_os = "linux")]
mod group;
mod identity;
mod retire;
#[cfg_attr(target_os = "android", allow(dead_code))]
mod sock_diag;
#[cfg(target_os = "linux")]
mod substitute;

pub(in crate::net) use acknowledged::AckWatch;
pub(super) use acknowledged::unacknowledged;
// On Android, reading `SO_COOKIE` takes unsafe code.
#[cfg(target_os = "android")]
pub(in crate::net) use super::no_group::{Steering, Substitute, join, steer};
#[cfg(target_os = "linux")]
pub(in crate::net) use group::{Steering, join, steer};
pub(in crate::net) use identity::{Identity, identity};
#[cfg(test)]
#[cfg(target_os = "linux")]
pub(in crate::net) use retire::take_only_syns;
pub(in crate::net) use retire::{
    connection_requests_are_hidden, connection_requests_under_way, drop_syns, is_queue_full,
    shut_down_unix, take_syns,
};
#[cfg(target_os = "linux")]
pub(in crate::net) use substitute::Substitute;
