//! What both examples share, with each other and with those of async-drain: settings, routes, and how they end.
// Neither example uses all of it, and none is a library.
#![allow(dead_code, unreachable_pub)]

pub mod answer;
#[path = "../../../examples/common/events.rs"]
pub mod events;
#[path = "../../../examples/common/process.rs"]
pub mod process;
#[path = "../../../examples/common/route.rs"]
pub mod route;
#[path = "../../../examples/common/settings.rs"]
pub mod settings;
pub mod websocket;

use std::error::Error;

use self::settings::Settings;

/// The settings, of which TLS is none that these servers have.
pub fn settings() -> Result<Settings, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    if settings.tls {
        return Err("TLS is 1, and this server speaks no TLS".into());
    }
    Ok(settings)
}
