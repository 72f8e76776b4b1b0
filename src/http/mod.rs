//! What the HTTP adapters share: each names a request, tells its peer to leave in the answer, and
//! keeps something until the answer's body has ended.

mod body;
mod connection_header;
mod label;
mod response;

pub(crate) use body::forward_body;
pub(crate) use connection_header::RequestKind;
pub(crate) use label::label;
pub(crate) use response::Keep;
pub use {body::Answer, response::Respond};
