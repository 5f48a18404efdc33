//! Certificates and keys, and the rustls configuration made of them.
//!
//! The configuration names its cryptography (ring) itself. kube's builder asks rustls for the process's
//! default provider, which installs one when there is none: state that belongs to the host, not to a library.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::kubeconfig::{Cluster, LoadError, User};

/// A client certificate with its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    pub(crate) fn new(certificate: Vec<u8>, key: Vec<u8>) -> Self {
        Self { certificate, key }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// What one connection's TLS is made of. Compared to see whether files have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Material {
    pub(crate) trust: Trust,
    pub(crate) identity: Option<Identity>,
}

/// By what a server is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Certificates of the kubeconfig, PEM.
    Authority(Vec<u8>),
    /// The system's, as kubectl does when the kubeconfig has none.
    Platform,
    /// Nothing is checked: `insecure-skip-tls-verify`.
    Anything,
}

impl Material {
    /// Reads what the cluster and the user name, files included.
    pub(crate) fn read(cluster: &Cluster, user: &User) -> Result<Self, LoadError> {
        let trust = match (authority(cluster)?, cluster.insecure_skip_tls_verify) {
            (Some(_), true) => {
                return Err(LoadError::Certificate {
                    what: "the certificate authority of the cluster",
                    origin: "certificate-authority".to_owned(),
                    problem:
                        "insecure-skip-tls-verify is set too; kubectl refuses that, remove one of the two"
                            .to_owned(),
                });
            }
            (Some(pem), false) => Trust::Authority(pem),
            (None, true) => Trust::Anything,
            (None, false) => Trust::Platform,
        };
        Ok(Self { trust, identity: identity(user)? })
    }

    /// The same with a plugin's certificate, where the user has none of his own.
    pub(crate) fn with(&self, identity: Option<Identity>) -> Self {
        Self { trust: self.trust.clone(), identity: self.identity.clone().or(identity) }
    }

    /// The configuration for the API server.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, LoadError> {
        let provider = provider();
        let builder = builder(&provider)?;
        let builder = match &self.trust {
            Trust::Authority(pem) => {
                let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(pem)?), provider);
                let chains = chains.build().map_err(|error| broken_authority(&error))?;
                let listed = certificates(pem);
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Trusting { chains, listed }))
            }
            Trust::Platform => builder.dangerous().with_custom_certificate_verifier(platform(&[], provider)?),
            Trust::Anything => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Believer { provider }))
            }
        };
        let Some(identity) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let (chain, key) = identity.parse()?;
        builder.with_client_auth_cert(chain, key).map_err(|error| LoadError::Certificate {
            what: "the client certificate and key",
            origin: "client-certificate, client-key".to_owned(),
            problem: format!("{error}: the key must belong to the certificate"),
        })
    }

    /// The configuration for an `https` proxy on the way: the cluster's certificates count, as with kubectl,
    /// and the system's do too; the client certificate is none of the proxy's business.
    pub(crate) fn proxy_config(&self) -> Result<ClientConfig, LoadError> {
        let provider = provider();
        let builder = builder(&provider)?;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.trust {
            Trust::Authority(pem) => platform(&certificates(pem), provider)?,
            Trust::Platform => platform(&[], provider)?,
            Trust::Anything => Arc::new(Believer { provider }),
        };
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }
}

impl Identity {
    fn parse(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), LoadError> {
        let chain = certificates(&self.certificate);
        if chain.is_empty() {
            return Err(LoadError::Certificate {
                what: "the client certificate",
                origin: "client-certificate".to_owned(),
                problem: "there is no certificate in it; it must be PEM".to_owned(),
            });
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| {
            let encrypted = self.key.windows(9).any(|window| window == b"ENCRYPTED");
            LoadError::Certificate {
                what: "the client key",
                origin: "client-key".to_owned(),
                problem: if encrypted {
                    "it is encrypted; kubectl cannot use such a key either, decrypt it with `openssl pkey`"
                        .to_owned()
                } else {
                    format!("{error}; it must be a PEM key in PKCS#8, PKCS#1 or SEC1 form")
                },
            }
        })?;
        Ok((chain, key))
    }
}

/// The cluster's certificates, PEM; data wins over the file.
pub(crate) fn authority(cluster: &Cluster) -> Result<Option<Vec<u8>>, LoadError> {
    pem(
        "the certificate authority of the cluster",
        "certificate-authority",
        &cluster.certificate_authority_data,
        &cluster.certificate_authority,
    )
}

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn identity(user: &User) -> Result<Option<Identity>, LoadError> {
    let certificate = pem(
        "the client certificate",
        "client-certificate",
        &user.client_certificate_data,
        &user.client_certificate,
    )?;
    let key = pem("the client key", "client-key", user.client_key_data.reveal(), &user.client_key)?;
    let missing = |what, has: &str, other: &str, add: &str| LoadError::Certificate {
        what,
        origin: has.to_owned(),
        problem: format!("its {other} is missing; add {add} or {add}-data"),
    };
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Identity::new(certificate, key))),
        (Some(_), None) => Err(missing("the client certificate", "client-certificate", "key", "client-key")),
        (None, Some(_)) => Err(missing("the client key", "client-key", "certificate", "client-certificate")),
    }
}

/// What a pair of `x-data` (base64) and `x` (a file) gives, empty and absent being the same.
fn pem(what: &'static str, field: &str, data: &str, file: &str) -> Result<Option<Vec<u8>>, LoadError> {
    if !data.is_empty() {
        let data: String = data.split_whitespace().collect();
        return STANDARD.decode(data).map(Some).map_err(|error| LoadError::Certificate {
            what,
            origin: format!("{field}-data"),
            problem: format!("it is not base64: {error}"),
        });
    }
    if file.is_empty() {
        return Ok(None);
    }
    let path = Path::new(file);
    std::fs::read(path).map(Some).map_err(|source| LoadError::Read { what, path: path.to_path_buf(), source })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder(
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, LoadError> {
    ClientConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions().map_err(
        |error| LoadError::Certificate { what: "TLS", origin: "ring".to_owned(), problem: error.to_string() },
    )
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    // As in Go, what is no certificate is passed over: people keep notes and keys in these files.
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

fn roots(pem: &[u8]) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(pem));
    if roots.is_empty() {
        Err(broken_authority(&"there is no certificate in it; it must be PEM"))
    } else {
        Ok(roots)
    }
}

fn broken_authority(error: &dyn fmt::Display) -> LoadError {
    LoadError::Certificate {
        what: "the certificate authority of the cluster",
        origin: "certificate-authority".to_owned(),
        problem: error.to_string(),
    }
}

fn platform(
    extra: &[CertificateDer<'static>],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, LoadError> {
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(extra.iter().cloned(), provider);
    Ok(Arc::new(verifier.map_err(|error| LoadError::Certificate {
        what: "the system's certificate authorities",
        origin: "the kubeconfig gives none".to_owned(),
        problem: format!(
            "{error}: install ca-certificates, set SSL_CERT_FILE, or give the cluster a certificate-authority"
        ),
    })?))
}

/// Believes who the cluster's certificates vouch for, and who shows one of them himself: a self-signed
/// server certificate is listed as its own authority, which Go takes and webpki (rightly) finds odd.
#[derive(Debug)]
struct Trusting {
    chains: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found =
            self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match found {
            // Said only of a certificate that is in force; what is left to check is its name.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(problem)))
                if problem.to_string().contains("CaUsedAsEndEntity")
                    && self.listed.iter().any(|one| one == end_entity) =>
            {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            found => found,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Believes any server, which is what `insecure-skip-tls-verify` asks for. Signatures are not looked at
/// either: whoever may show any certificate has the key to it, and odd certificates are why people ask for this.
#[derive(Debug)]
struct Believer {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
