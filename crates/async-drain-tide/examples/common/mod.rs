//! Shared by both examples: settings, and the routes on http-types.

pub(crate) mod answer;
mod websocket;

use std::error::Error;

use testkit::settings::Settings;

/// Reads the settings, and rejects TLS, which these servers don't have.
pub(crate) fn settings() -> Result<Settings, Box<dyn Error>> {
    let settings = Settings::from_env()?;
    if settings.tls {
        return Err("TLS is 1, but this server has no TLS: unset it".into());
    }
    Ok(settings)
}
