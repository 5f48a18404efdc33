//! Why a proxy did not start.

use std::path::PathBuf;

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The kubeconfig cannot be read.
    #[error("proxy: reading kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The kubeconfig holds something that the proxy cannot take.
    #[error("proxy: kubeconfig {}: {problem}", path.display())]
    Unsuitable {
        /// The file.
        path: PathBuf,
        /// What, and what to do.
        problem: String,
    },
    /// Certificates could not be made or put to use.
    #[error("proxy: {what}")]
    Certificate {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system refused something.
    #[error("proxy: {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ProxyError {
    pub(super) fn certificate<E>(what: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Certificate { what, source: source.into() }
    }

    pub(super) fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
