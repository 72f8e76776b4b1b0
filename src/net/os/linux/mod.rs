//! What Linux can do beyond the other systems, Android included.

mod acknowledged;
pub(crate) mod connection_requests;
mod retire;
mod sock_diag;

pub(in crate::net) use acknowledged::AckWatch;
pub(super) use acknowledged::unacknowledged;
pub(in crate::net) use retire::{
    connection_requests_under_way, drop_syns, shut_down_unix, take_syns,
};
