//! What can go wrong with the embedded cluster itself.

use std::path::PathBuf;

/// Why the embedded cluster does not start, or cannot do what was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A file or folder of its own cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// Another cluster runs in the folder.
    #[error("another embedded cluster runs in {}: stop it, or choose another folder", .0.display())]
    InUse(PathBuf),
    /// An address of 127/8 cannot be used.
    #[error("{what}: {source}; the embedded cluster needs loopback addresses of 127/8, which Linux has")]
    Address {
        /// What for.
        what: String,
        /// The system's word.
        source: std::io::Error,
    },
    /// No certificate could be made.
    #[error("certificates: {0}")]
    Certificate(String),
    /// Objects cannot be made.
    #[error("manifests: {0}")]
    Manifest(String),
    /// There is no such pod, node or fault.
    #[error("there is no {0}")]
    Missing(String),
}

impl SimError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    pub(crate) fn address(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Address { what, source }
    }
}
