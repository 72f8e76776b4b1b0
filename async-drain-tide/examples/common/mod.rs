//! What both examples share: settings, and the routes on http-types.

pub(crate) mod answer;
mod websocket;

use std::error::Error;

use testkit::settings::Settings;

/// The settings, of which TLS is none that these servers have.
pub(crate) fn settings() -> Result<Settings, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    if settings.tls {
        return Err("TLS is 1, and this server speaks no TLS".into());
    }
    Ok(settings)
}
