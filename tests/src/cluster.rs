//! The cluster under test.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};

/// Where the kubeconfig of the cluster under test is said.
const VARIABLE: &str = "KUBETETHER_TEST_KUBECONFIG";

/// A way into the cluster under test with all rights, made for one scenario.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    kubeconfig: PathBuf,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster that `KUBETETHER_TEST_KUBECONFIG` leads to.
    ///
    /// # Panics
    /// When there is none: a scenario that silently does not run would be worse.
    pub async fn connect() -> Self {
        let path = std::env::var_os(VARIABLE).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
        let Some(path) = path else {
            panic!("{VARIABLE} is not set: `make cluster` starts a cluster and tells its kubeconfig")
        };
        let kubeconfig = if path.is_absolute() { path } else { root().join(path) };
        let read = Kubeconfig::read_from(&kubeconfig);
        let read =
            read.unwrap_or_else(|error| panic!("{}: {error}; see `make cluster`", kubeconfig.display()));
        let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
        let config = config.unwrap_or_else(|error| panic!("{}: {error}", kubeconfig.display()));
        let client = kube::Client::try_from(config).unwrap_or_else(|error| panic!("no client: {error}"));
        Self { client, kubeconfig }
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Whether it is an embedded one (`make sim`), whose pods are processes of this machine.
    pub async fn is_embedded(&self) -> bool {
        let asked = http::Request::get("/sim/faults").body(Vec::new());
        match asked {
            Ok(asked) => self.client.request_text(asked).await.is_ok(),
            Err(_) => false,
        }
    }

    /// Its kubeconfig, as an absolute path.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

/// The checkout's top folder: tests run in their package's.
#[must_use]
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
