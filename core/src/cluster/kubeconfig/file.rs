//! One kubeconfig file: its shape, its text, its relative paths, and how two of them are merged.
//!
//! Read as leniently as client-go does: an absent field, a null and an empty string are the same, and
//! an odd entry that nobody selected spoils nothing. (kube's own types refuse the whole file for one
//! context without a cluster, or for the `config: null` that old cloud commands wrote.)

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

/// A kubeconfig, from one file or merged from several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Kubeconfig {
    #[serde(rename = "current-context", deserialize_with = "or_default")]
    pub(crate) current_context: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) clusters: Vec<NamedCluster>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) contexts: Vec<NamedContext>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) users: Vec<NamedUser>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamedCluster {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) cluster: Cluster,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamedContext {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) context: Context,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamedUser {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) user: User,
}

/// Which cluster, as which user, in which namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Context {
    #[serde(deserialize_with = "or_default")]
    pub(crate) cluster: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) namespace: String,
}

/// Where an API server is and how it proves itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct Cluster {
    #[serde(deserialize_with = "or_default")]
    pub(crate) server: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) tls_server_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) insecure_skip_tls_verify: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) certificate_authority: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) certificate_authority_data: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) proxy_url: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) disable_compression: bool,
    #[serde(deserialize_with = "or_default")]
    pub(crate) extensions: Vec<Extension>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Extension {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    pub(crate) extension: serde_json::Value,
}

/// Who the client says it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(crate) struct User {
    #[serde(deserialize_with = "or_default")]
    pub(crate) client_certificate: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) client_certificate_data: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) client_key: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) client_key_data: Secret,
    #[serde(deserialize_with = "or_default")]
    pub(crate) token: Secret,
    #[serde(rename = "tokenFile", deserialize_with = "or_default")]
    pub(crate) token_file: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) username: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) password: Secret,
    #[serde(rename = "as", deserialize_with = "or_default")]
    pub(crate) impersonate: String,
    #[serde(rename = "as-uid", deserialize_with = "or_default")]
    pub(crate) impersonate_uid: String,
    #[serde(rename = "as-groups", deserialize_with = "or_default")]
    pub(crate) impersonate_groups: Vec<String>,
    #[serde(rename = "as-user-extra", deserialize_with = "or_default")]
    pub(crate) impersonate_extra: BTreeMap<String, Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) auth_provider: Option<AuthProvider>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) exec: Option<Exec>,
}

/// A login method of kubectl's early days. Only a ready-made OIDC token of one is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AuthProvider {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) config: BTreeMap<String, Secret>,
}

/// A command that prints credentials.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Exec {
    #[serde(deserialize_with = "or_default")]
    pub(crate) api_version: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) command: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) args: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) env: Vec<ExecVariable>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) install_hint: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) interactive_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) provide_cluster_info: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExecVariable {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) value: Secret,
}

/// A text that no log and no error may show.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(empty)" } else { "(secret)" })
    }
}

impl Kubeconfig {
    /// Parses the text of a file. The error is one line and quotes nothing of the text, which holds secrets.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let documents: Vec<Option<Self>> = serde_saphyr::from_multiple(text)
            .map_err(|error| one_line(&error.without_snippet().to_string()))?;
        Ok(documents.into_iter().flatten().fold(Self::default(), Self::merge))
    }

    /// Adds what `next` has and `self` has not: the first to set a name wins, whole entries at a time.
    pub(crate) fn merge(mut self, next: Self) -> Self {
        if self.current_context.is_empty() {
            self.current_context = next.current_context;
        }
        add_missing(&mut self.clusters, next.clusters, |entry| &entry.name);
        add_missing(&mut self.contexts, next.contexts, |entry| &entry.name);
        add_missing(&mut self.users, next.users, |entry| &entry.name);
        self
    }

    /// Makes relative paths relative to the folder of the file they stand in, as client-go does. A plugin's
    /// command is a path only if it has a separator; a bare name is looked up in `PATH`.
    pub(crate) fn resolve_paths(&mut self, folder: &Path) {
        let resolve = |path: &mut String| {
            if !path.is_empty() && Path::new(path.as_str()).is_relative() {
                // A kubeconfig is UTF-8, a folder's name need not be; a path that is not is kept as it stands.
                if let Some(joined) = folder.join(path.as_str()).to_str() {
                    *path = joined.to_owned();
                }
            }
        };
        for entry in &mut self.clusters {
            resolve(&mut entry.cluster.certificate_authority);
        }
        for entry in &mut self.users {
            resolve(&mut entry.user.client_certificate);
            resolve(&mut entry.user.client_key);
            resolve(&mut entry.user.token_file);
            if let Some(exec) = &mut entry.user.exec
                && exec.command.contains(std::path::MAIN_SEPARATOR)
            {
                resolve(&mut exec.command);
            }
        }
    }

    /// Nothing in it that could be selected.
    pub(crate) fn is_empty(&self) -> bool {
        self.contexts.is_empty() && self.clusters.is_empty() && self.current_context.is_empty()
    }

    pub(crate) fn context(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|entry| entry.name == name).map(|entry| &entry.context)
    }

    pub(crate) fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|entry| entry.name == name).map(|entry| &entry.cluster)
    }

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|entry| entry.name == name).map(|entry| &entry.user)
    }

    pub(crate) fn context_names(&self) -> Vec<String> {
        self.contexts.iter().map(|entry| entry.name.clone()).collect()
    }
}

/// The text of a file in any encoding that editors and shells write: UTF-8 with or without a byte order
/// mark, and UTF-16, which is what `>` makes in Windows PowerShell.
pub(crate) fn decode(bytes: Vec<u8>) -> Result<String, String> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_err(|_| "it is not valid UTF-16".to_owned())
    };
    match bytes.as_slice() {
        [0xFF, 0xFE, ..] => utf16(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => utf16(u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => {
            String::from_utf8(rest.to_vec()).map_err(|_| "it is not valid UTF-8".to_owned())
        }
        _ => String::from_utf8(bytes).map_err(|_| "it is not valid UTF-8".to_owned()),
    }
}

/// The folder a file's relative paths are relative to.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    // Absolute now, since token files are read again later and the host may have changed its folder by then.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    absolute.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

fn add_missing<T>(into: &mut Vec<T>, more: Vec<T>, name: fn(&T) -> &String) {
    for entry in more {
        if !into.iter().any(|known| name(known) == name(&entry)) {
            into.push(entry);
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}
