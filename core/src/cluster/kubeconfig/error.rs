//! Why no connection to a cluster could be made ready: one variant per thing for the user to mend.

use std::io;
use std::path::PathBuf;

use crate::{Error, ErrorCode};

/// The kubeconfig, or what it names, cannot be used. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// No file, and not in a cluster.
    #[error(
        "no kubeconfig: looked at {}; set KUBECONFIG, give a path, or let your cluster's command write one \
         (`kubectl config view` shows what kubectl uses)",
        list(tried)
    )]
    NoKubeconfig { tried: Vec<PathBuf> },

    /// A file is there, or was named, and cannot be read.
    #[error("cannot read {what} {}: check the path and its permissions", path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },

    /// A file is not a kubeconfig.
    #[error("{} is not a usable kubeconfig: {problem}; mend the file or leave it out of KUBECONFIG", path.display())]
    Parse { path: PathBuf, problem: String },

    /// Contexts to choose from, and no choice made.
    #[error(
        "the kubeconfig ({}) has no current-context: choose one of {}, by option or with \
         `kubectl config use-context`",
        list(files),
        names(known)
    )]
    NoCurrentContext { files: Vec<PathBuf>, known: Vec<String> },

    /// The chosen context is not there.
    #[error("the kubeconfig ({}) has no context \"{name}\"; it has {}", list(files), names(known))]
    NoSuchContext { name: String, files: Vec<PathBuf>, known: Vec<String> },

    /// The context names a cluster that is not there.
    #[error(
        "context \"{context}\" is of cluster \"{cluster}\", which the kubeconfig does not describe: add the \
         cluster (`kubectl config set-cluster`) or choose another context"
    )]
    NoSuchCluster { context: String, cluster: String },

    /// The namespace, by option or of the context, is none.
    #[error(
        "{:?} is no namespace: its name has 1 to 63 lower-case letters, digits and `-`, and begins and ends with a \
         letter or digit; give another, or mend the context (`kubectl config set-context`)",
        name.chars().take(80).collect::<String>()
    )]
    Namespace { name: String },

    /// The cluster's address is missing or is none.
    #[error("cluster \"{cluster}\" has no usable server address (\"{server}\"): {problem}")]
    Server { cluster: String, server: String, problem: String },

    /// The user's entry contradicts itself or asks for what is not supported.
    #[error("the credentials of user \"{user}\" cannot be used: {problem}")]
    Credentials { user: String, problem: String },

    /// A credential plugin failed.
    #[error("the credential plugin `{command}` {problem}{}{}", said(stderr), hinted(hint.as_deref()))]
    Exec { command: String, problem: String, stderr: String, hint: Option<String> },

    /// A certificate or key cannot be used.
    #[error("{what} ({origin}) cannot be used: {problem}")]
    Certificate { what: &'static str, origin: String, problem: String },

    /// The proxy on the way to the API server cannot be used.
    #[error("the proxy \"{url}\" ({origin}) cannot be used: {problem}")]
    Proxy { url: String, origin: &'static str, problem: String },
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "no file, since the home folder is unknown".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn names(known: &[String]) -> String {
    // A developer of a big company has hundreds; the message stays readable.
    const SHOWN: usize = 12;
    if known.is_empty() {
        return "none".to_owned();
    }
    let mut text = known.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    if known.len() > SHOWN {
        text.push_str(&format!(" and {} more", known.len() - SHOWN));
    }
    text
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; it said: {stderr}") }
}

fn hinted(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!("; its kubeconfig entry advises: {hint}"))
}
impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        let code = match &error {
            LoadError::NoSuchContext { .. } | LoadError::NoCurrentContext { .. } => ErrorCode::NoSuchContext,
            LoadError::Namespace { .. } => ErrorCode::Config,
            _ => ErrorCode::Kubeconfig,
        };
        let message = error.to_string();
        match std::error::Error::source(&error).map(ToString::to_string) {
            Some(cause) => Self::new(code, message).because(cause),
            None => Self::new(code, message),
        }
    }
}
