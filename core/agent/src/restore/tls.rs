//! TLS to the API server: the pod's own certificate authority, TLS 1.3, which every API server speaks.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// An encrypted connection.
pub(super) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Trusts the authorities in this PEM file, and nobody else.
pub(super) fn trusting(pem: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("ca.crt: {error}"))?;
        roots.add(certificate).map_err(|error| format!("ca.crt: {error}"))?;
    }
    if roots.is_empty() {
        return Err("ca.crt: no certificate in it".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| format!("TLS: {error}"))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// A connection over `socket` to the server of this name or address.
pub(super) fn connect(config: &Arc<ClientConfig>, host: &str, socket: TcpStream) -> Result<Stream, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))?;
    let connection = ClientConnection::new(Arc::clone(config), name)
        .map_err(|error| format!("TLS with {host}: {error}"))?;
    Ok(StreamOwned::new(connection, socket))
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}
