//! Who may come in: the bearer of a token made here. All of them may do everything.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use http::{Request, header};
use serde_json::{Value, json};

use crate::object::{at, number, uid};

/// All tokens of a cluster.
#[derive(Debug)]
pub(crate) struct Tokens {
    known: Mutex<HashSet<String>>,
    admin: String,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        let admin = fresh();
        Self { known: Mutex::new(HashSet::from([admin.clone()])), admin }
    }

    /// The one of the kubeconfig.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    pub(crate) fn knows<B>(&self, request: &Request<B>) -> bool {
        let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = shown.and_then(|value| value.strip_prefix("Bearer "));
        token.is_some_and(|token| {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(token.trim())
        })
    }

    /// A new one, good until the cluster ends.
    pub(crate) fn make(&self) -> String {
        let token = fresh();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone());
        token
    }

    /// The answer to a `TokenRequest`.
    pub(crate) fn issue(&self, account: &Value, mut request: Value) -> Value {
        let seconds = number(&request, "/spec/expirationSeconds").unwrap_or(3600);
        let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        request["kind"] = "TokenRequest".into();
        request["apiVersion"] = "authentication.k8s.io/v1".into();
        request["metadata"] = json!({ "name": account["metadata"]["name"], "namespace": account["metadata"]["namespace"], "uid": uid(account) });
        request["status"] = json!({ "token": self.make(), "expirationTimestamp": at(until) });
        request
    }
}

fn fresh() -> String {
    format!("sim-{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}
