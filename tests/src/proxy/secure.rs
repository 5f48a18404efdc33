//! TLS on both sides: certificates made at run time, rustls with ring handed in explicitly.

use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::error::ProxyError;

/// All that is spoken inside.
const PROTOCOL: &[u8] = b"http/1.1";

/// What the proxy shows to clients, and what they have to show: nobody else on this machine may use the credentials
/// it holds.
pub(super) struct Faces {
    pub(super) acceptor: TlsAcceptor,
    /// PEM.
    pub(super) authority: String,
    pub(super) client_certificate: String,
    pub(super) client_key: String,
}

/// Who the proxy is towards the API server: PEM certificates and key.
pub(super) struct Identity {
    pub(super) certificates: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// Who signs, for as long as the proxy runs.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// A certificate and its key.
pub(super) struct Signed {
    pub(super) certificate: Certificate,
    pub(super) key: KeyPair,
}

pub(super) fn faces() -> Result<Faces, ProxyError> {
    let authority = Authority::new("kubetether-tests proxy")?;
    let client = authority.sign("client")?;
    let mut roots = RootCertStore::empty();
    let trusted = roots.add(authority.certificate.der().clone());
    trusted.map_err(ProxyError::certificate("trusting the own authority"))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let verifier = verifier.map_err(ProxyError::certificate("demanding the client's certificate"))?;
    Ok(Faces {
        acceptor: acceptor(&authority.sign("127.0.0.1")?, verifier)?,
        authority: authority.pem(),
        client_certificate: client.certificate.pem(),
        client_key: client.key.serialize_pem(),
    })
}

impl Authority {
    pub(super) fn new(name: &str) -> Result<Self, ProxyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signed = KeyPair::generate().and_then(|key| Ok((params.self_signed(&key)?, key)));
        let (certificate, key) = signed.map_err(ProxyError::certificate("making an authority"))?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// For a server or a client of this name.
    pub(super) fn sign(&self, name: &str) -> Result<Signed, ProxyError> {
        let signed = CertificateParams::new(vec![name.to_owned()]).and_then(|mut params| {
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate()?;
            Ok(Signed { certificate: params.signed_by(&key, &self.issuer)?, key })
        });
        signed.map_err(ProxyError::certificate("making a certificate"))
    }
}

/// A server's side of TLS.
pub(super) fn acceptor(
    server: &Signed,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<TlsAcceptor, ProxyError> {
    let key = PrivateKeyDer::try_from(server.key.serialize_der());
    let key = key.map_err(ProxyError::certificate("reading the server's key"))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(ProxyError::certificate("choosing TLS versions"))?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![server.certificate.der().clone()], key)
        .map_err(ProxyError::certificate("showing the server's certificate"))?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// How to speak with a server that this authority (PEM) vouches for.
pub(super) fn towards(
    authority: &[u8],
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, ProxyError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        let certificate =
            certificate.map_err(ProxyError::certificate("reading the API server's authority"))?;
        roots.add(certificate).map_err(ProxyError::certificate("trusting the API server's authority"))?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(ProxyError::certificate("choosing TLS versions"))?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&identity.certificates).collect();
            let chain = chain.map_err(ProxyError::certificate("reading the user's certificate"))?;
            let key = PrivateKeyDer::from_pem_slice(&identity.key)
                .map_err(ProxyError::certificate("reading the user's key"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(ProxyError::certificate("using the user's certificate"))?
        }
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
