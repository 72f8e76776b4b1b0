//! TLS with a certificate that is made at start, for `localhost` and the loopback address.

use std::{error::Error, sync::Arc};

use futures_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

pub fn acceptor() -> Result<TlsAcceptor, Box<dyn Error>> {
    Ok(TlsAcceptor::from(Arc::new(config(&["h2", "http/1.1"])?)))
}

/// Returns the configuration of a server that speaks `protocols`.
pub fn config(protocols: &[&str]) -> Result<ServerConfig, Box<dyn Error>> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], PrivateKeyDer::from(key))?;
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Ok(config)
}
