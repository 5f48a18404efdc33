//! A client for one API server, made from the kubeconfig.
//!
//! kube's [`Client`] with a stack of ours under it: base address (path prefixes included) and
//! impersonation headers are kube's layers; credentials, retries, TLS and proxies are here.

mod auth;
mod bounded;
mod busy;
mod connections;
mod retry_after;
mod send;
#[cfg(test)]
mod tests;

mod unreachable;

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use kube::client::{Client, ConfigExt as _};
use tower::{ServiceBuilder, service_fn};

use self::auth::Authorizer;
pub(crate) use self::busy::Heard;
use self::connections::Connections;
pub(crate) use self::send::Renewal;
use self::send::Sender;
pub(crate) use self::unreachable::Unreachable;
use super::kubeconfig::{self, Selected, Surroundings, User};
pub(crate) use super::kubeconfig::{LoadError, Options};

/// A client and what it was made from.
pub(crate) struct Loaded {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// `None`: in a cluster, by service account.
    pub(crate) context: Option<String>,
    pub(crate) cluster_name: Option<String>,
    pub(crate) server: Uri,
    pub(crate) user: Option<String>,
}

/// Makes a client. Nothing is asked of the API server; a credential plugin is run, once, for up to `limit` and
/// at most three minutes, since some log in through a browser. Cancel-safe: a plugin that runs is killed.
pub(crate) async fn connect(options: Options<'_>, limit: Duration) -> Result<Loaded, LoadError> {
    let times = Times::default();
    // Later runs have the usual time: they happen behind a session that is ready.
    connect_from(options, Surroundings::process(), times, limit.min(times.plugin)).await
}

/// How long things may take, and how often they are looked at again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// For one connection: address, proxy and TLS together.
    pub(crate) connect: Duration,
    /// After so much silence a connection is probed, three times, a third of it apart.
    pub(crate) keepalive: Duration,
    /// Files with tokens and certificates are read again after so long (client-go: the same).
    pub(crate) reread: Duration,
    /// The same after a connection has failed.
    pub(crate) suspect: Duration,
    /// For one run of a credential plugin.
    pub(crate) plugin: Duration,
    /// Between two runs.
    pub(crate) plugin_rest: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            keepalive: Duration::from_secs(15),
            reread: Duration::from_secs(60),
            suspect: Duration::from_secs(1),
            plugin: Duration::from_secs(180),
            plugin_rest: Duration::from_secs(5),
        }
    }
}

fn connect_from(
    options: Options<'_>,
    around: Surroundings<'_>,
    times: Times,
    first_run: Duration,
) -> impl Future<Output = Result<Loaded, LoadError>> + use<> {
    // All reading of files and environment is done before the first await.
    let selected = kubeconfig::select(options, around);
    async move { client(selected?, times, first_run).await }
}

async fn client(selected: Selected, times: Times, first_run: Duration) -> Result<Loaded, LoadError> {
    let name = selected.user_name.clone().unwrap_or_default();
    let refused = |error: &kube::Error| LoadError::Credentials {
        user: name.clone(),
        problem: format!("it cannot be impersonated: {error}"),
    };
    // Everything is tried that needs no server, so that a mistake shows here and not at the first request.
    let layers = layers(&selected.user, selected.server.clone());
    let extra_headers = layers.extra_headers_layer().map_err(|error| refused(&error))?;
    let authorizer = Authorizer::new(&selected, times)?;
    let connections = Connections::new(selected.clone(), times)?;
    let first = authorizer.first(first_run).await?;
    connections.pool(first.identity)?;
    let sender = Arc::new(Sender { authorizer, connections });
    let service = ServiceBuilder::new().layer(layers.base_uri_layer()).layer(extra_headers).service(
        service_fn(move |request| {
            let sender = Arc::clone(&sender);
            async move { sender.send(request).await }
        }),
    );
    let loaded = Loaded {
        client: Client::new(service, selected.namespace.clone()),
        namespace: selected.namespace,
        context: selected.context,
        cluster_name: selected.cluster_name,
        server: selected.server,
        user: selected.user_name,
    };
    let Loaded { namespace, context, cluster_name, server, user, .. } = &loaded;
    tracing::debug!(%server, context, cluster = cluster_name, user, namespace, "client made");
    Ok(loaded)
}

/// A configuration of kube's with just what its two layers look at.
fn layers(user: &User, server: Uri) -> kube::Config {
    let mut config = kube::Config::new(server);
    let set = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    config.auth_info.impersonate = set(&user.impersonate);
    config.auth_info.impersonate_uid = set(&user.impersonate_uid);
    config.auth_info.impersonate_groups = Some(user.impersonate_groups.clone());
    config.auth_info.impersonate_user_extra =
        Some(user.impersonate_extra.iter().map(|(key, values)| (key.clone(), values.clone())).collect());
    config
}
