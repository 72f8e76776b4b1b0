//! The guides of the repository, for docs.rs and for `cargo test --doc`, which compiles their
//! examples. They are not part of the API: no other build has this module.
//!
//! In the repository, links from page to page are files. Here they are modules: the first
//! definition of a link holds, so `links.md` goes before each page.

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/concepts.md")]
pub mod concepts {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/connections.md")]
pub mod connections {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/getting-started.md")]
pub mod getting_started {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/hand-over.md")]
pub mod hand_over {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/http-server.md")]
pub mod http_server {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/kubernetes.md")]
pub mod kubernetes {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/migrating.md")]
pub mod migrating {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/observing.md")]
pub mod observing {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/ordering.md")]
pub mod ordering {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/other-runtimes.md")]
pub mod other_runtimes {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/proxies.md")]
pub mod proxies {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/raw-tcp.md")]
pub mod raw_tcp {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/systemd.md")]
pub mod systemd {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/testing.md")]
pub mod testing {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/troubleshooting.md")]
pub mod troubleshooting {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../../docs/guide/workers.md")]
pub mod workers {}
