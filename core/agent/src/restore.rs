//! What `kubetether-restore` does: one Service is put back as its annotation says. Then, when its session's Lease is
//! watched to be dead, that is deleted, and the interceptor with all it owns.
//!
//! | variable | meaning |
//! |---|---|
//! | `KUBETETHER_RESTORE` | this program; beside it lie `token` and `ca.crt` |
//! | `KUBETETHER_NAMESPACE` | where all of it is |
//! | `KUBETETHER_SERVICE`, `KUBETETHER_SERVICE_UID` | the Service; another one of that name is left alone |
//! | `KUBETETHER_LEASE` | the session's; a Service that another one holds is left alone |
//! | `KUBETETHER_DEPLOYMENT` | the interceptor |
//! | `KUBETETHER_SLICES` | names of EndpointSlices, with commas between, which go before the Service is put back; may be unset |
//! | `KUBERNETES_SERVICE_HOST`, `KUBERNETES_SERVICE_PORT` | the API server, as each pod is told |
//!
//! Blocking, without a runtime: it runs once, and ends. The rules are the engine's (`core/src/exchange`).

use std::ffi::OsString;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

mod http;
mod patch;
mod tls;

pub use http::Cluster;
use http::{Answer, Method};

/// A change by somebody else in between begins it anew, so often.
const ATTEMPTS: u32 = 8;
/// A Lease is watched for as long as it holds, in seconds; its own word is taken within these bounds.
const LEASE: std::ops::Range<u64> = 10..60;

/// The fallback slices may take this long to go, all of them; the Service is put back without that, too.
const SLICES: Duration = Duration::from_secs(2);

/// What is to be put back and taken away.
#[derive(Debug)]
pub struct Task {
    namespace: String,
    service: String,
    service_uid: String,
    lease: String,
    deployment: String,
    slices: Vec<String>,
}

fn variable(lookup: impl Fn(&'static str) -> Option<OsString>, name: &'static str) -> Result<String, String> {
    let value = lookup(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("{name} is not set"))
}

impl Task {
    /// Reads the variables through `lookup`.
    ///
    /// # Errors
    /// The first that is missing.
    pub fn from_env(lookup: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, String> {
        let slices = variable(&lookup, "KUBETETHER_SLICES").unwrap_or_default();
        let slices = slices.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        Ok(Self {
            slices: slices.collect(),
            namespace: variable(&lookup, "KUBETETHER_NAMESPACE")?,
            service: variable(&lookup, "KUBETETHER_SERVICE")?,
            service_uid: variable(&lookup, "KUBETETHER_SERVICE_UID")?,
            lease: variable(&lookup, "KUBETETHER_LEASE")?,
            deployment: variable(&lookup, "KUBETETHER_DEPLOYMENT")?,
        })
    }

    /// Does it. Says what was done.
    ///
    /// # Errors
    /// What was tried and why it failed. Then the interceptor is still there, and whoever calls may try again.
    pub fn run(&self, cluster: &Cluster) -> Result<&'static str, String> {
        let restored = self.restore(cluster)?;
        self.bury(cluster)?;
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/{}", self.namespace, self.deployment);
        // Foreground takes the way back at once: nobody has been led here since the Lease was watched.
        let options =
            json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground" });
        let answer = cluster.ask(Method::Delete, &path, Some(&options))?;
        match answer.status {
            200..300 | 404 => {
                Ok(if restored { "the Service is put back" } else { "there was nothing to put back" })
            }
            _ => Err(answer.refusal("delete", &format!("deployments/{}", self.deployment))),
        }
    }

    /// Deletes the session's Lease when it is dead: not renewed while we watched, for as long as it says. No clock is
    /// compared. While it lives, whoever renews it needs the interceptor.
    fn bury(&self, cluster: &Cluster) -> Result<(), String> {
        let path =
            format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}", self.namespace, self.lease);
        let what = format!("leases/{}", self.lease);
        let find = || -> Result<Option<Value>, String> {
            let found = cluster.ask(Method::Get, &path, None)?;
            match found.status {
                200 => found.json().map(Some),
                404 => Ok(None),
                _ => Err(found.refusal("get", &what)),
            }
        };
        let Some(first) = find()? else { return Ok(()) };
        let seconds = first["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(LEASE.start);
        std::thread::sleep(Duration::from_secs(seconds.clamp(LEASE.start, LEASE.end) + 1));
        let Some(then) = find()? else { return Ok(()) };
        let version = &then["metadata"]["resourceVersion"];
        if *version != first["metadata"]["resourceVersion"] {
            return Err(format!("{what} is renewed: its session lives"));
        }
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "resourceVersion": version },
        });
        let answer = cluster.ask(Method::Delete, &path, Some(&options))?;
        match answer.status {
            200..300 | 404 => Ok(()),
            _ => Err(answer.refusal("delete", &what)),
        }
    }

    /// Takes the fallback slices away: beside the Service's own, nodes would choose between the two at random. The
    /// interceptor runs, or nobody would ask for this, so callers are led to it. What fails keeps nothing up.
    fn clear_the_way(&self, cluster: &Cluster) {
        let end = Instant::now() + SLICES;
        for slice in &self.slices {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let path =
                format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices/{slice}", self.namespace);
            let options =
                json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background" });
            // Most of them were never made; some may not be touched.
            let _ = cluster.ask_within(left, Method::Delete, &path, Some(&options));
        }
    }

    /// Whether there was something of ours to put back.
    fn restore(&self, cluster: &Cluster) -> Result<bool, String> {
        let path = format!("/api/v1/namespaces/{}/services/{}", self.namespace, self.service);
        let what = format!("services/{}", self.service);
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            let found = cluster.ask(Method::Get, &path, None)?;
            let live = match found.status {
                200 => found.json()?,
                404 => return Ok(false),
                _ => return Err(found.refusal("get", &what)),
            };
            if live["metadata"]["uid"] != self.service_uid.as_str() {
                return Ok(false);
            }
            let Some(operations) = patch::put_back(&live, &self.lease)? else { return Ok(false) };
            if attempt == 0 {
                self.clear_the_way(cluster);
            }
            let patched = format!("{path}?fieldManager={}", patch::MANAGER);
            let answer = cluster.ask(Method::Patch, &patched, Some(&Value::Array(operations)))?;
            match answer.status {
                200 => {
                    // Worth one try: the Service is back all the same.
                    if let Some(operations) = patch::without_us(&answer.json()?) {
                        let _ = cluster.ask(Method::Patch, &path, Some(&Value::Array(operations)));
                    }
                    return Ok(true);
                }
                // A test of the patch failed: somebody was quicker.
                409 | 422 => last = answer.refusal("patch", &what),
                404 => return Ok(false),
                _ => return Err(answer.refusal("patch", &what)),
            }
        }
        Err(last)
    }
}

impl Answer {
    fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("the API server's answer: {error}"))
    }

    /// The cluster's own words.
    fn refusal(&self, verb: &str, object: &str) -> String {
        let words = self.json().ok().and_then(|status| status["message"].as_str().map(str::to_owned));
        format!("{verb} {object}: HTTP {} {}", self.status, words.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_slices_go_first_may_be_left_unsaid() {
        for (told, expected) in [(None, 0), (Some(""), 0), (Some("kt-orders-v4-0,kt-orders-v6-0"), 2)] {
            let lookup = |name: &str| match name {
                "KUBETETHER_SLICES" => told.map(OsString::from),
                _ => Some("x".into()),
            };
            assert_eq!(Task::from_env(lookup).unwrap().slices.len(), expected);
        }
    }
}
