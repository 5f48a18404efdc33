//! The kubeconfig that is given, and the one that leads through the proxy.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use http::uri::Authority;
use kube::config::{Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};
use tempfile::TempDir;

use super::error::ProxyError;
use super::secure::{Faces, Identity};

/// The current context of a kubeconfig, and nothing else of it.
pub(super) struct Given {
    path: PathBuf,
    context: NamedContext,
    cluster: NamedCluster,
    user: NamedAuthInfo,
    uri: Uri,
    pub(super) authority: Authority,
}

/// A kubeconfig of ours, removed when dropped.
#[derive(Debug)]
pub(super) struct Written {
    folder: TempDir,
}

impl Given {
    pub(super) fn read(path: &Path) -> Result<Self, ProxyError> {
        let unsuitable =
            |problem: &str| ProxyError::Unsuitable { path: path.to_owned(), problem: problem.to_owned() };
        let read = Kubeconfig::read_from(path)
            .map_err(|source| ProxyError::Kubeconfig { path: path.to_owned(), source: Box::new(source) })?;
        let current = read.current_context.unwrap_or_default();
        let context = read.contexts.into_iter().find(|context| context.name == current);
        let context =
            context.ok_or_else(|| unsuitable("there is no current context; set current-context"))?;
        let detail = context.context.clone().unwrap_or_default();
        let cluster = read.clusters.into_iter().find(|cluster| cluster.name == detail.cluster);
        let cluster = cluster.ok_or_else(|| unsuitable("the current context's cluster is not in it"))?;
        let name = detail.user.unwrap_or_default();
        let user = read.auth_infos.into_iter().find(|user| user.name == name);
        let user = user.unwrap_or_else(|| NamedAuthInfo { name, ..NamedAuthInfo::default() });

        let details = cluster.cluster.clone().unwrap_or_default();
        if details.proxy_url.is_some() {
            return Err(unsuitable("its cluster is behind a proxy-url, which this proxy does not follow"));
        }
        let server = details.server.as_deref().unwrap_or_default();
        let uri: Uri = server.parse().map_err(|_| unsuitable("its server is no URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(unsuitable("its server is not reached by https"));
        }
        let authority = uri.authority().cloned().ok_or_else(|| unsuitable("its server has no host"))?;
        Ok(Self { path: path.to_owned(), context, cluster, user, uri, authority })
    }

    /// Where the API server is.
    pub(super) fn address(&self) -> (String, u16) {
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        (host.to_owned(), self.authority.port_u16().unwrap_or(443))
    }

    /// The name that its certificate has to bear.
    pub(super) fn server_name(&self) -> String {
        let named = self.cluster.cluster.as_ref().and_then(|cluster| cluster.tls_server_name.clone());
        named.unwrap_or_else(|| self.address().0)
    }

    /// PEM of who vouches for the API server.
    pub(super) fn trusted(&self) -> Result<Vec<u8>, ProxyError> {
        let cluster = self.cluster.cluster.clone().unwrap_or_default();
        if cluster.insecure_skip_tls_verify == Some(true) {
            return Err(self.unsuitable("insecure-skip-tls-verify is not followed; give the authority"));
        }
        let trusted = self.bytes(
            cluster.certificate_authority_data.as_deref(),
            cluster.certificate_authority.as_deref(),
            "certificate-authority",
        )?;
        trusted.ok_or_else(|| self.unsuitable("it names no certificate-authority; give it"))
    }

    /// The user's client certificate.
    pub(super) fn identity(&self) -> Result<Option<Identity>, ProxyError> {
        let user = self.user.auth_info.clone().unwrap_or_default();
        let certificates = self.bytes(
            user.client_certificate_data.as_deref(),
            user.client_certificate.as_deref(),
            "client-certificate",
        )?;
        // The key is behind a type that only serde opens.
        let value = serde_json::to_value(&user).unwrap_or_default();
        let key = self.bytes(value["client-key-data"].as_str(), user.client_key.as_deref(), "client-key")?;
        Ok(certificates.zip(key).map(|(certificates, key)| Identity { certificates, key }))
    }

    fn bytes(
        &self,
        data: Option<&str>,
        file: Option<&str>,
        what: &str,
    ) -> Result<Option<Vec<u8>>, ProxyError> {
        let problem = |why: String| self.unsuitable(&format!("{what}: {why}"));
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            let packed: String = data.split_whitespace().collect();
            return STANDARD.decode(packed).map(Some).map_err(|error| problem(error.to_string()));
        }
        let file = file.filter(|file| !file.is_empty());
        file.map(|file| std::fs::read(file).map_err(|error| problem(format!("{file}: {error}")))).transpose()
    }

    fn unsuitable(&self, problem: &str) -> ProxyError {
        ProxyError::Unsuitable { path: self.path.clone(), problem: problem.to_owned() }
    }

    /// Leads to a proxy that terminates TLS: with its authority, and the client certificate it asks for in place of
    /// the user's. All else of the user stays.
    pub(super) fn through(mut self, proxy: SocketAddr, faces: &Faces) -> Result<Written, ProxyError> {
        self.lead_to(proxy);
        let encoded = |pem: &str| Some(STANDARD.encode(pem));
        let cluster = self.cluster.cluster.get_or_insert_default();
        cluster.certificate_authority = None;
        cluster.certificate_authority_data = encoded(&faces.authority);
        cluster.tls_server_name = None;
        let user = self.user.auth_info.get_or_insert_default();
        user.client_certificate = None;
        user.client_certificate_data = encoded(&faces.client_certificate);
        user.client_key = None;
        user.client_key_data = encoded(&faces.client_key).map(Into::into);
        self.write()
    }

    /// Leads to a proxy that passes TLS on: the API server is still who answers.
    pub(super) fn by_way_of(mut self, proxy: SocketAddr) -> Result<Written, ProxyError> {
        let name = self.server_name();
        self.lead_to(proxy);
        self.cluster.cluster.get_or_insert_default().tls_server_name = Some(name);
        self.write()
    }

    fn lead_to(&mut self, proxy: SocketAddr) {
        let path = self.uri.path().trim_end_matches('/');
        self.cluster.cluster.get_or_insert_default().server = Some(format!("https://{proxy}{path}"));
    }

    fn write(self) -> Result<Written, ProxyError> {
        let config = Kubeconfig {
            api_version: Some("v1".to_owned()),
            kind: Some("Config".to_owned()),
            current_context: Some(self.context.name.clone()),
            contexts: vec![self.context],
            clusters: vec![self.cluster],
            auth_infos: vec![self.user],
            ..Kubeconfig::default()
        };
        // JSON is YAML too.
        let text = serde_json::to_vec(&config)
            .map_err(std::io::Error::from)
            .map_err(ProxyError::system("wording a kubeconfig"))?;
        let folder = TempDir::new().map_err(ProxyError::system("making a folder for a kubeconfig"))?;
        let written = Written { folder };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(written.path());
        file.and_then(|mut file| file.write_all(&text))
            .map_err(ProxyError::system("writing a kubeconfig"))?;
        Ok(written)
    }
}

impl Written {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}
