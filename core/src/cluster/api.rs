//! Requests to the API server, each with a deadline, each failing with the object, the verb and the
//! cluster's own words.

mod answer;
#[cfg(test)]
pub(crate) mod fake;

use std::fmt::{self, Debug};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::answer::is_fault;
pub(crate) use self::answer::{
    UNREADABLE, is_already_there, is_conflict, is_not_understood, is_passing, is_unanswered, retry_after,
};
use super::client::{self, Heard, Options};
use super::names;
use super::transport::Detour;
use crate::backoff::{Backoff, Pace};
use crate::{Config, Deadline, Error, ErrorCode, Result};

/// A single request to the API server takes no longer than this, whatever the deadline of the whole.
const REQUEST: Duration = Duration::from_secs(15);

/// Attempts of a read-modify-write that ended by a conflict: a dozen sessions may start at once and share an object.
const ATTEMPTS: u32 = 20;
/// Between them at most, so that they do not go on meeting each other.
const APART: Duration = Duration::from_millis(100);

/// Attempts of a request that the server answered with a fault of its own, or was too busy for.
const TRIES: u32 = 6;
/// Between them.
const PACE: Pace = Pace { first: Duration::from_millis(100), last: Duration::from_secs(2) };

/// One namespace of one cluster, as one user.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
    server: String,
    detour: Arc<Detour>,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("server", &self.server)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// What every namespaced object that the engine handles can do.
pub(crate) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
{
}

impl Cluster {
    pub(crate) fn new(client: Client, namespace: String, server: String) -> Self {
        Self { client, namespace, server, detour: Arc::default() }
    }

    /// The cluster and namespace that the settings lead to, and the context that was used. Nothing is asked of the API
    /// server yet.
    pub(crate) async fn connect(config: &Config, deadline: Deadline) -> Result<(Self, Option<String>)> {
        let options = Options {
            kubeconfig: config.kubeconfig.as_deref(),
            context: config.context.as_deref(),
            namespace: config.namespace.as_deref(),
        };
        let loaded = client::connect(options, deadline.left()).await?;
        let server = loaded.server.to_string();
        Ok((Self::new(loaded.client, loaded.namespace, server), loaded.context))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What was learned of the way of port-forwards.
    pub(crate) fn detour(&self) -> &Detour {
        &self.detour
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Another namespace of the same cluster.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    pub(crate) async fn get<K: Object>(&self, name: &str, deadline: Deadline) -> Result<K> {
        let (api, object) = (self.api::<K>(), object::<K>(name));
        self.again(deadline, || self.request("get", &object, deadline, api.get(name))).await
    }

    /// `None` when there is no such object.
    pub(crate) async fn find<K: Object>(&self, name: &str, deadline: Deadline) -> Result<Option<K>> {
        let (api, object) = (self.api::<K>(), object::<K>(name));
        self.again(deadline, || self.request("get", &object, deadline, api.get_opt(name))).await
    }

    pub(crate) async fn list<K: Object>(&self, selector: &str, deadline: Deadline) -> Result<Vec<K>> {
        let params = ListParams::default().labels(selector);
        let (api, object) = (self.api::<K>(), object::<K>(""));
        Ok(self.again(deadline, || self.request("list", &object, deadline, api.list(&params))).await?.items)
    }

    /// The same, of all namespaces where `everywhere`.
    pub(crate) async fn list_in<K: Object>(
        &self,
        everywhere: bool,
        selector: &str,
        deadline: Deadline,
    ) -> Result<Vec<K>> {
        if !everywhere {
            return self.list(selector, deadline).await;
        }
        let params = ListParams::default().labels(selector);
        let (api, object) = (Api::<K>::all(self.client.clone()), object::<K>(""));
        Ok(self.again(deadline, || self.request("list", &object, deadline, api.list(&params))).await?.items)
    }

    pub(crate) async fn create<K: Object>(&self, new: &K, deadline: Deadline) -> Result<K> {
        let name = new.meta().name.clone().unwrap_or_default();
        let params = PostParams { field_manager: Some(names::KUBETETHER.into()), ..PostParams::default() };
        let (api, object) = (self.api::<K>(), object::<K>(&name));
        let mut tries = 0;
        let attempt = || {
            tries += 1;
            self.request("create", &object, deadline, api.create(&params, new))
        };
        match self.again(deadline, attempt).await {
            // One that was answered with a fault had been done.
            Err(error) if tries > 1 && is_already_there(&error) => {
                let found: K = self.get(&name, deadline).await?;
                let ours = found.meta().labels.as_ref().and_then(|labels| labels.get(names::MANAGED_BY));
                if ours.is_some_and(|by| by == names::KUBETETHER) { Ok(found) } else { Err(error) }
            }
            done => done,
        }
    }

    pub(crate) async fn json_patch<K: Object>(
        &self,
        name: &str,
        patch: json_patch::Patch,
        deadline: Deadline,
    ) -> Result<K> {
        let patch = Patch::Json::<()>(patch);
        let api = self.api::<K>();
        let params = PatchParams { field_manager: Some(names::KUBETETHER.into()), ..PatchParams::default() };
        // One that had been done in spite of a fault fails its tests the next time, which is a conflict.
        let object = object::<K>(name);
        self.again(deadline, || self.request("patch", &object, deadline, api.patch(name, &params, &patch)))
            .await
    }

    /// Deletes the object if it is there, and still the one of this `uid` where one is given. With
    /// `Foreground` it is gone only after all it owns.
    pub(crate) async fn delete<K: Object>(
        &self,
        name: &str,
        preconditions: Option<Preconditions>,
        propagation: PropagationPolicy,
        deadline: Deadline,
    ) -> Result<()> {
        let params =
            DeleteParams { propagation_policy: Some(propagation), preconditions, ..DeleteParams::default() };
        let (api, object) = (self.api::<K>(), object::<K>(name));
        let attempt = || self.request("delete", &object, deadline, api.delete(name, &params));
        match self.again(deadline, attempt).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == ErrorCode::NoSuchTarget => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Runs a request within the deadline, and no longer than a request may take. Boxed, since the
    /// futures of the API client are large.
    pub(crate) fn request<'a, T: 'a>(
        &'a self,
        verb: &'static str,
        object: &'a str,
        deadline: Deadline,
        call: impl Future<Output = kube::Result<T>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T>> {
        let limit = deadline.at_most(REQUEST).instant();
        Box::pin(async move {
            let heard = Heard::default();
            match tokio::time::timeout_at(limit, heard.over(call)).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(self.explain(verb, object, error)),
                Err(_) => {
                    let what = format_args!("{verb} {object} in namespace {}", self.namespace).to_string();
                    let error = Error::deadline(what).on(object);
                    Err(match heard.last() {
                        Some(busy) => {
                            error.because(format!("{} answered {busy} so far", self.server)).try_this(
                                "it is too busy, or cannot reach its own backend; try again in a while",
                            )
                        }
                        None => error.try_this(format!("see whether {} answers", self.server)),
                    })
                }
            }
        })
    }

    /// Repeats what may be said twice while the server answers with a fault of its own, or is too busy.
    async fn again<T, F>(&self, deadline: Deadline, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut backoff = Backoff::new(PACE);
        let mut tries = 1;
        loop {
            let error = match attempt().await {
                Err(error) if is_fault(&error) && tries < TRIES => error,
                done => return done,
            };
            let delay = backoff.after(&error);
            if deadline.left() <= delay {
                return Err(error);
            }
            tries += 1;
            tokio::time::sleep(delay).await;
        }
    }

    /// Repeats a read-modify-write while it ends in a conflict.
    pub(crate) async fn on_conflict_again<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut tries = 1;
        loop {
            match attempt().await {
                Err(error) if is_conflict(&error) && tries < ATTEMPTS => {
                    tries += 1;
                    tokio::time::sleep(APART.mul_f64(rand::random())).await;
                }
                result => return result,
            }
        }
    }
}

/// `plural/name`, as the API server itself names objects.
pub(crate) fn object<K: Object>(name: &str) -> String {
    let plural = K::plural(&());
    if name.is_empty() { plural.into_owned() } else { format!("{plural}/{name}") }
}

/// An annotation's place as a JSON pointer, where `/` is written `~1` (RFC 6901).
pub(crate) fn annotation_path(key: &str) -> String {
    format!("/metadata/annotations/{}", key.replace('/', "~1"))
}

/// A JSON patch from its literal form.
pub(crate) fn patch(operations: serde_json::Value) -> Result<json_patch::Patch> {
    serde_json::from_value(operations)
        .map_err(|error| Error::new(ErrorCode::Internal, "a JSON patch of ours is malformed").because(error))
}

/// The reference that makes `owner` the owner of another object. The owner's deletion is not held up
/// by what it owns.
pub(crate) fn owner_reference<K: Object>(
    owner: &K,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: None,
        block_owner_deletion: None,
    }
}
