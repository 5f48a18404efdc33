//! An authority and a server's certificate, made at the start and gone at the end.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::error::SimError;

/// The server's side of TLS, and the authority (PEM) that clients are to trust.
pub(crate) fn make(addresses: &[IpAddr]) -> Result<(TlsAcceptor, String), SimError> {
    let wrong = |error: &dyn std::fmt::Display| SimError::Certificate(error.to_string());
    let mut authority = CertificateParams::default();
    // Not the server's name too: OpenSSL takes a certificate whose issuer and subject are one for its own authority.
    authority.distinguished_name.push(DnType::CommonName, "kubetether-sim-ca");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().map_err(|error| wrong(&error))?;
    let certificate = authority.self_signed(&key).map_err(|error| wrong(&error))?;
    let issuer = Issuer::new(authority, key);

    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let names = names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut server = CertificateParams::new(names).map_err(|error| wrong(&error))?;
    server.distinguished_name.push(DnType::CommonName, "kubetether-sim");
    server.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
    let key = KeyPair::generate().map_err(|error| wrong(&error))?;
    let signed = server.signed_by(&key, &issuer).map_err(|error| wrong(&error))?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| wrong(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![signed.der().clone()], key)
        .map_err(|error| wrong(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), certificate.pem()))
}
