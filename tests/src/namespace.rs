//! A namespace of its own for each scenario.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace as Object, ServiceAccount};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use crate::wait::{LONG, eventually};

/// What PodSecurity enforces in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Nothing.
    #[default]
    Privileged,
    /// The level `restricted`.
    Restricted,
}

/// A fresh namespace. Whoever made it deletes it by [`delete`](Self::delete).
#[derive(Clone)]
pub struct Namespace {
    client: Client,
    name: String,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Namespace").field(&self.name).finish()
    }
}

impl Namespace {
    /// Makes `test-<what>-<random>` and waits until pods can be made in it.
    ///
    /// # Panics
    /// When the cluster refuses it.
    pub async fn create(client: Client, what: &str, security: Security) -> Self {
        let what: String =
            what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
        let name = format!("test-{}-{:08x}", what.trim_matches('-'), rand::random::<u32>());
        let mut labels = vec![("kubernetes.test/scenario".to_owned(), what)];
        if security == Security::Restricted {
            labels.push(("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned()));
        }
        let object = Object {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(labels.into_iter().collect()),
                ..ObjectMeta::default()
            },
            ..Object::default()
        };
        let made = Api::all(client.clone()).create(&PostParams::default(), &object).await;
        made.unwrap_or_else(|error| panic!("namespace {name}: {error}"));
        let namespace = Self { client, name };
        let accounts: Api<ServiceAccount> = namespace.api();
        eventually("the namespace's default ServiceAccount", LONG, async || accounts.get("default").await)
            .await;
        namespace
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client it was made with.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its objects of a kind.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Makes an object in it.
    ///
    /// # Panics
    /// When the cluster refuses it.
    pub async fn create_object<K>(&self, object: &K) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + serde::Serialize + DeserializeOwned,
    {
        let made = self.api::<K>().create(&PostParams::default(), object).await;
        made.unwrap_or_else(|error| {
            panic!("{} {}: {error}", K::kind(&()), object.meta().name.as_deref().unwrap_or("?"))
        })
    }

    /// Begins its end; the cluster does the rest.
    ///
    /// # Panics
    /// When the cluster refuses it.
    pub async fn delete(&self) {
        let all: Api<Object> = Api::all(self.client.clone());
        let deleted = all.delete(&self.name, &DeleteParams::background()).await;
        deleted.unwrap_or_else(|error| panic!("namespace {}: {error}", self.name));
    }
}
