//! Which cluster, as whom: the kubeconfig found and read the way kubectl does it.
//!
//! kube's own loader differs from kubectl in ways that users meet (a missing file in `KUBECONFIG` is an
//! error, an empty `current-context` hides the next file's, `NO_PROXY` is held against the proxy, an
//! in-cluster fallback hides a broken file), hence this one. Reads small files and the environment; asks nobody.

mod error;
mod file;
mod proxy;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use http::Uri;

use crate::target::is_namespace;

pub(crate) use self::error::LoadError;
use self::file::Kubeconfig;
pub(crate) use self::file::{Cluster, Exec, Secret, User};
pub(crate) use self::proxy::{Proxy, ProxyKind};

/// How a variable of the environment is read. Tests give their own, since the process has only one.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What the caller decides; everything else comes from the kubeconfig.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options<'a> {
    /// One file, instead of `KUBECONFIG` and the default. It must exist.
    pub(crate) kubeconfig: Option<&'a Path>,
    /// Instead of `current-context`.
    pub(crate) context: Option<&'a str>,
    /// Instead of the context's.
    pub(crate) namespace: Option<&'a str>,
}

/// Everything about the process that is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) env: Environment<'a>,
    /// The folder where a pod finds its service account.
    pub(crate) service_account: &'a Path,
}

impl Surroundings<'static> {
    /// Those of this process.
    pub(crate) fn process() -> Self {
        Self {
            env: &|name| {
                let value = std::env::var_os(name);
                // Without HOME the user database knows, on Windows the profile.
                if name == "HOME" {
                    value.or_else(|| std::env::home_dir().map(PathBuf::into_os_string))
                } else {
                    value
                }
            },
            service_account: Path::new("/var/run/secrets/kubernetes.io/serviceaccount"),
        }
    }
}

/// One cluster and one user, chosen; nothing in it has been tried yet.
#[derive(Clone, Debug)]
pub(crate) struct Selected {
    pub(crate) server: Uri,
    pub(crate) namespace: String,
    /// `None`: in a cluster, by service account.
    pub(crate) context: Option<String>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) user_name: Option<String>,
    pub(crate) cluster: Cluster,
    pub(crate) user: User,
    pub(crate) proxy: Option<Proxy>,
}

/// Finds, reads and merges the kubeconfig and chooses from it.
pub(crate) fn select(options: Options<'_>, around: Surroundings<'_>) -> Result<Selected, LoadError> {
    let selected = choose(options, around)?;
    // It becomes a part of the paths of requests.
    if is_namespace(&selected.namespace) {
        Ok(selected)
    } else {
        Err(LoadError::Namespace { name: selected.namespace })
    }
}

fn choose(options: Options<'_>, around: Surroundings<'_>) -> Result<Selected, LoadError> {
    let files = Files::read(options.kubeconfig, around.env)?;
    let chosen = options.context.filter(|name| !name.is_empty());
    let name = chosen.unwrap_or(&files.merged.current_context);
    if name.is_empty() {
        // As client-go: files that choose nothing are as good as none.
        if let Some(pod) = in_cluster(options, around)? {
            return Ok(pod);
        }
        return Err(if files.merged.is_empty() {
            LoadError::NoKubeconfig { tried: files.tried }
        } else {
            LoadError::NoCurrentContext { known: files.merged.context_names(), files: files.found }
        });
    }
    let Some(context) = files.merged.context(name) else {
        return Err(if files.found.is_empty() {
            LoadError::NoKubeconfig { tried: files.tried }
        } else {
            let known = files.merged.context_names();
            LoadError::NoSuchContext { name: name.to_owned(), files: files.found, known }
        });
    };
    let cluster = files.merged.cluster(&context.cluster).ok_or_else(|| LoadError::NoSuchCluster {
        context: name.to_owned(),
        cluster: context.cluster.clone(),
    })?;
    let user = match files.merged.user(&context.user) {
        Some(user) => user.clone(),
        None => {
            if !context.user.is_empty() {
                // kubectl goes on without credentials, and there are clusters where that is right.
                tracing::warn!(
                    context = name,
                    user = context.user,
                    "the kubeconfig does not describe this user"
                );
            }
            User::default()
        }
    };
    let server = server(cluster, &user, &context.cluster)?;
    let namespace = [options.namespace.unwrap_or_default(), &context.namespace, "default"];
    Ok(Selected {
        proxy: proxy::choose(&cluster.proxy_url, &server, around.env)?,
        server,
        namespace: first_set(namespace),
        context: Some(name.to_owned()),
        cluster_name: Some(context.cluster.clone()),
        user_name: Some(context.user.clone()).filter(|user| !user.is_empty()),
        cluster: cluster.clone(),
        user,
    })
}

/// The files that were looked for, those that were there, and what they say together.
struct Files {
    tried: Vec<PathBuf>,
    found: Vec<PathBuf>,
    merged: Kubeconfig,
}

impl Files {
    fn read(explicit: Option<&Path>, env: Environment<'_>) -> Result<Self, LoadError> {
        let tried = match explicit {
            Some(path) => vec![path.to_path_buf()],
            None => default_paths(env),
        };
        let mut files = Self { tried, found: Vec::new(), merged: Kubeconfig::default() };
        for path in &files.tried {
            let bytes = match std::fs::read(path) {
                Ok(bytes) => bytes,
                // kubectl skips what KUBECONFIG lists and nobody has written yet; a file that was asked for must be there.
                Err(error) if error.kind() == io::ErrorKind::NotFound && explicit.is_none() => continue,
                Err(source) => {
                    return Err(LoadError::Read { what: "the kubeconfig", path: path.clone(), source });
                }
            };
            let parsed = file::decode(bytes).and_then(|text| Kubeconfig::parse(&text));
            let mut next = parsed.map_err(|problem| LoadError::Parse { path: path.clone(), problem })?;
            next.resolve_paths(&file::folder_of(path));
            files.merged = files.merged.merge(next);
            files.found.push(path.clone());
        }
        Ok(files)
    }
}

/// `KUBECONFIG`, a list with the system's separator, else `~/.kube/config`.
fn default_paths(env: Environment<'_>) -> Vec<PathBuf> {
    let listed: Vec<PathBuf> = env("KUBECONFIG")
        .map(|list| std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    if !listed.is_empty() {
        return listed;
    }
    env("HOME")
        .filter(|home| !home.is_empty())
        .map(|home| Path::new(&home).join(".kube").join("config"))
        .into_iter()
        .collect()
}

/// What a pod knows of its cluster. `None`: this is not a pod, or one without a service account.
fn in_cluster(options: Options<'_>, around: Surroundings<'_>) -> Result<Option<Selected>, LoadError> {
    let variable = |name| {
        (around.env)(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
    };
    let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"))
    else {
        return Ok(None);
    };
    let token = around.service_account.join("token");
    if !token.is_file() {
        return Ok(None);
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let text = format!("https://{host}:{port}");
    let server: Uri = text.parse().map_err(|error: http::uri::InvalidUri| LoadError::Server {
        cluster: "in-cluster".to_owned(),
        server: text,
        problem: format!("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT make no address: {error}"),
    })?;
    let namespace = match options.namespace {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => {
            let path = around.service_account.join("namespace");
            let read = std::fs::read_to_string(&path);
            read.map_err(|source| LoadError::Read { what: "the pod's namespace", path, source })?
                .trim()
                .to_owned()
        }
    };
    let authority = around.service_account.join("ca.crt");
    Ok(Some(Selected {
        proxy: proxy::choose("", &server, around.env)?,
        server,
        namespace,
        context: None,
        cluster_name: None,
        user_name: None,
        cluster: Cluster {
            certificate_authority: authority.to_string_lossy().into_owned(),
            ..Cluster::default()
        },
        user: User { token_file: token.to_string_lossy().into_owned(), ..User::default() },
    }))
}

/// The server's URL, by client-go's rules: without a scheme it is https if anything speaks of TLS, else http.
fn server(cluster: &Cluster, user: &User, name: &str) -> Result<Uri, LoadError> {
    let refused = |problem: String| LoadError::Server {
        cluster: name.to_owned(),
        server: cluster.server.clone(),
        problem,
    };
    if cluster.server.is_empty() {
        return Err(refused(
            "add one with `kubectl config set-cluster <name> --server=https://host:port`".to_owned(),
        ));
    }
    let tls = cluster.insecure_skip_tls_verify
        || [&cluster.certificate_authority, &cluster.certificate_authority_data]
            .iter()
            .any(|text| !text.is_empty())
        || [&user.client_certificate, &user.client_certificate_data].iter().any(|text| !text.is_empty());
    let text = match (cluster.server.contains("://"), tls) {
        (true, _) => cluster.server.clone(),
        (false, true) => format!("https://{}", cluster.server),
        (false, false) => format!("http://{}", cluster.server),
    };
    let uri: Uri = text.parse().map_err(|error| refused(format!("it is not a URL: {error}")))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => Err(refused("it must be https://host:port or http://host:port".to_owned())),
    }
}

fn first_set(texts: [&str; 3]) -> String {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned()
}
