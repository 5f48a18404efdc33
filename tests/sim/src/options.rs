//! How an embedded cluster is to be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Settings of an embedded cluster. Without any it has one node, no images, and its files in a temporary folder.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) images: BTreeMap<String, PathBuf>,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) nodes: usize,
    pub(crate) port: u16,
    pub(crate) namespaces: Vec<String>,
    pub(crate) spdy: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { images: BTreeMap::new(), folder: None, nodes: 1, port: 0, namespaces: Vec::new(), spdy: true }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An image: the program of this machine that a container of it runs. In the container it is `/NAME`, where
    /// NAME is the program's file name, and the entry point. Pods of other images wait with `ErrImagePull`.
    #[must_use]
    pub fn image(mut self, reference: impl Into<String>, program: impl AsRef<Path>) -> Self {
        // Containers have a working directory of their own.
        let program = std::path::absolute(&program).unwrap_or_else(|_| program.as_ref().to_owned());
        self.images.insert(reference.into(), program);
        self
    }

    /// Where kubeconfig and pods' files are kept instead of a temporary folder. What an earlier cluster left there
    /// is removed at the start; at the end the folder's content is.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// How many nodes: `sim-1`, `sim-2`...; at least one.
    #[must_use]
    pub fn nodes(mut self, count: usize) -> Self {
        self.nodes = count.max(1);
        self
    }

    /// The port of 127.0.0.1 where the API is served; 0, the default, for a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Port-forwards by WebSocket alone, as if the API were behind a proxy that knows nothing else.
    #[must_use]
    pub fn websockets_only(mut self) -> Self {
        self.spdy = false;
        self
    }

    /// A namespace that is there from the start, besides `default`, `kube-system` and `kube-public`.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespaces.push(name.into());
        self
    }
}
