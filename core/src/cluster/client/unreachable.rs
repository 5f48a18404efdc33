//! Why an API server could not be reached, in words that help.

use std::error::Error as StdError;
use std::io;

use hyper_util::client::legacy::Error as HttpError;
use rustls::{AlertDescription, CertificateError};
use tower::BoxError;

use crate::cluster::kubeconfig::Selected;

/// The connection failed; the cause chain has what the libraries say.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach the API server {server}{via}: {problem}")]
pub(crate) struct Unreachable {
    server: String,
    via: String,
    problem: String,
    source: HttpError,
}

impl Unreachable {
    /// Explains what it can; an error after the connection stood, which TLS has no part in, stays as it is.
    pub(super) fn explain(error: HttpError, selected: &Selected) -> BoxError {
        let problem = match find::<rustls::Error>(&error) {
            Some(tls) => tls_problem(tls, selected),
            None if error.is_connect() => connect_problem(&error, selected),
            None => return error.into(),
        };
        let server = selected.server.to_string().trim_end_matches('/').to_owned();
        let via =
            selected.proxy.as_ref().map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
        Self { server, via, problem, source: error }.into()
    }
}

fn connect_problem(error: &HttpError, selected: &Selected) -> String {
    let peer = if selected.proxy.is_some() { "the proxy or the server" } else { "it" };
    let kind = find::<io::Error>(error).map(io::Error::kind);
    let chain = chain(error);
    if chain.iter().any(|text| text.contains("dns error")) {
        return "its name does not resolve: check the name, or connect the VPN".to_owned();
    }
    match kind {
        Some(io::ErrorKind::TimedOut) => {
            format!("no answer from {peer} in time: is the VPN on, does a firewall drop the port?")
        }
        Some(io::ErrorKind::ConnectionRefused) => {
            format!(
                "nothing listens there ({peer} refused the connection): is the cluster running, is the port right?"
            )
        }
        _ => chain.last().cloned().unwrap_or_default(),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "rustls may add kinds; what has no advice here speaks for itself"
)]
fn tls_problem(error: &rustls::Error, selected: &Selected) -> String {
    let cluster =
        selected.cluster_name.as_deref().map_or_else(String::new, |name| format!(" (cluster \"{name}\")"));
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "its certificate was not issued by the certificate authority we trust{cluster}: if the cluster was made \
                 anew, get its new kubeconfig; if a proxy opens TLS on the way, its authority must be trusted"
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: renew it, or correct this machine's clock".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: correct this machine's clock".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
                "its certificate is for another name ({error}): use a name it has, or set tls-server-name in the \
                 kubeconfig{cluster}"
            ),
            _ => format!("its certificate is not accepted: {error}"),
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => {
            format!("it refused our client certificate ({error}): has it expired, is it of another cluster?")
        }
        rustls::Error::InvalidMessage(_) => {
            "what answers there does not speak TLS: is the port right, should the address begin with http://?"
                .to_owned()
        }
        other => format!("TLS failed: {other}"),
    }
}

/// The first error of a type in the chain, including those wrapped in I/O errors, whose chain skips them.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            // An I/O error around another one is only its wrapping.
            match error.downcast_ref::<io::Error>().and_then(wrapped).and_then(find::<E>) {
                Some(inner) => return Some(inner),
                None => return Some(found),
            }
        }
        next = match error.downcast_ref::<io::Error>().and_then(wrapped) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn wrapped(error: &io::Error) -> Option<&(dyn StdError + 'static)> {
    error.get_ref().map(|inner| inner as &(dyn StdError + 'static))
}

fn chain(error: &HttpError) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}
