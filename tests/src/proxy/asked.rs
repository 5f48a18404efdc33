//! What a request asks for.

use http::{HeaderMap, Method, Uri, header};

/// A request, as far as counting and choosing go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    method: Method,
    path: String,
    query: String,
    resource: String,
    upgrade: Option<String>,
}

impl Asked {
    pub(super) fn new(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        Self {
            method: method.clone(),
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            resource: resource(uri.path()),
            upgrade: headers
                .get(header::UPGRADE)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        }
    }

    /// As in `PATCH`.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// As in `/api/v1/namespaces/shop/pods`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// As in `watch=true`, without the question mark.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.query
    }

    /// As in `pods`, `pods/portforward`, `leases.coordination.k8s.io`; the path, when it leads to no resource.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Whether it asks for another protocol: a port-forward or an exec.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.upgrade.is_some()
    }

    /// Whether it is this one, as in `websocket`.
    #[must_use]
    pub fn upgrades_to(&self, protocol: &str) -> bool {
        self.upgrade.as_deref().is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(protocol))
    }

    /// Whether it is a watch.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.parameters().any(|pair| matches!(pair, ("watch", "true" | "1")))
    }

    /// Whether it can change an object of the cluster: not upgrades, dry runs, and questions that come as objects
    /// (reviews of access and tokens).
    #[must_use]
    pub fn is_mutating(&self) -> bool {
        let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(&self.method);
        let question = [".authorization.k8s.io", ".authentication.k8s.io"]
            .iter()
            .any(|group| self.resource.ends_with(group));
        writes && !question && !self.is_upgrade() && !self.parameters().any(|pair| pair == ("dryRun", "All"))
    }

    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query.split('&').filter_map(|pair| pair.split_once('='))
    }
}

/// The resource a path leads to, told as kubectl does.
fn resource(path: &str) -> String {
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    let group = match parts.next() {
        Some("api") => Some(""),
        Some("apis") => parts.next(),
        Some(_) | None => None,
    };
    let (Some(group), Some(_version), Some(first)) = (group, parts.next(), parts.next()) else {
        return path.to_owned();
    };
    let rest: Vec<&str> = parts.collect();
    let (plural, sub) = match (first, rest.as_slice()) {
        ("namespaces", [_, sub @ ("status" | "finalize")]) => (first, Some(*sub)),
        ("namespaces", [_, plural]) => (*plural, None),
        ("namespaces", [_, plural, _name]) => (*plural, None),
        ("namespaces", [_, plural, _name, sub, ..]) => (*plural, Some(*sub)),
        (_, [] | [_]) => (first, None),
        (_, [_name, sub, ..]) => (first, Some(*sub)),
    };
    let dot = if group.is_empty() { "" } else { "." };
    let slash = if sub.is_some() { "/" } else { "" };
    format!("{plural}{dot}{group}{slash}{}", sub.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, uri: &str) -> Asked {
        Asked::new(&method.parse().unwrap(), &uri.parse().unwrap(), &HeaderMap::new())
    }

    #[test]
    fn paths_lead_to_resources() {
        for (path, expected) in [
            ("/api/v1/pods", "pods"),
            ("/api/v1/namespaces", "namespaces"),
            ("/api/v1/namespaces/shop", "namespaces"),
            ("/api/v1/namespaces/shop/status", "namespaces/status"),
            ("/api/v1/namespaces/shop/pods", "pods"),
            ("/api/v1/namespaces/shop/pods/orders-1", "pods"),
            ("/api/v1/namespaces/shop/pods/orders-1/portforward", "pods/portforward"),
            ("/api/v1/nodes/node1/proxy/metrics/cadvisor", "nodes/proxy"),
            ("/apis/apps/v1/namespaces/shop/deployments/orders/scale", "deployments.apps/scale"),
            ("/apis/coordination.k8s.io/v1/namespaces/shop/leases/a", "leases.coordination.k8s.io"),
            ("/apis/apps/v1", "/apis/apps/v1"),
            ("/version", "/version"),
            ("/", "/"),
        ] {
            assert_eq!(asked("GET", path).resource(), expected, "{path}");
        }
    }

    #[test]
    fn what_changes_objects_is_told_from_what_asks() {
        let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        assert!(asked("POST", "/api/v1/namespaces/shop/pods").is_mutating());
        assert!(asked("DELETE", "/api/v1/namespaces/shop/pods/a?propagationPolicy=Background").is_mutating());
        assert!(!asked("GET", "/api/v1/namespaces/shop/pods").is_mutating());
        assert!(!asked("POST", reviews).is_mutating());
        assert!(!asked("PATCH", "/api/v1/namespaces/shop/services/a?dryRun=All").is_mutating());
        assert!(asked("GET", "/api/v1/pods?limit=1&watch=true").is_watch());
        assert!(!asked("GET", "/api/v1/pods?watch=false").is_watch());
    }
}
