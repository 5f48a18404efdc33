//! What a request asks for.

use http::{Method, Request, header};

use crate::kinds::{self, Kind};

/// What a path names.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// `/api`, `/apis`, `/version`, `/openapi` and what is below them.
    Discovery,
    Review {
        kind: &'static str,
        namespace: String,
    },
    Collection {
        kind: &'static Kind,
        namespace: String,
    },
    Object {
        kind: &'static Kind,
        namespace: String,
        name: String,
    },
    Sub {
        kind: &'static Kind,
        namespace: String,
        name: String,
        sub: String,
    },
    Unknown,
}

/// A request, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    target: Target,
    path: String,
    query: Vec<(String, String)>,
    accept: String,
    agent: String,
    method: Method,
}

impl Asked {
    pub(crate) fn new<B>(request: &Request<B>) -> Self {
        let header = |name| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Self {
            target: target(request.uri().path()),
            path: request.uri().path().to_owned(),
            query: pairs(request.uri().query().unwrap_or_default()),
            accept: header(header::ACCEPT),
            agent: header(header::USER_AGENT),
            method: request.method().clone(),
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The value of a parameter; empty when it is not there.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All values of a parameter.
    pub(crate) fn params(&self, name: &str) -> impl Iterator<Item = &str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        matches!(self.param(name), "true" | "1")
    }

    pub(crate) fn watches(&self) -> bool {
        self.is_on("watch")
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.param("dryRun") == "All"
    }

    /// Who writes: the field manager, else the program's name.
    pub(crate) fn manager(&self) -> &str {
        let named = self.param("fieldManager");
        if named.is_empty() { self.agent.split('/').next().unwrap_or_default() } else { named }
    }

    /// Asked by `kubectl get`, which prefers lines and columns.
    pub(crate) fn wants_table(&self) -> bool {
        self.accept.contains("as=Table")
    }

    /// As RBAC calls it.
    pub(crate) fn verb(&self) -> &'static str {
        let one = !matches!(self.target, Target::Collection { .. });
        match self.method.as_str() {
            "GET" if self.watches() => "watch",
            "GET" if one => "get",
            "GET" => "list",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if one => "delete",
            "DELETE" => "deletecollection",
            _ => "",
        }
    }

    pub(crate) fn kind(&self) -> Option<&'static Kind> {
        match &self.target {
            Target::Collection { kind, .. } | Target::Object { kind, .. } | Target::Sub { kind, .. } => {
                Some(kind)
            }
            Target::Discovery | Target::Review { .. } | Target::Unknown => None,
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        match &self.target {
            Target::Collection { namespace, .. }
            | Target::Object { namespace, .. }
            | Target::Sub { namespace, .. }
            | Target::Review { namespace, .. } => namespace,
            Target::Discovery | Target::Unknown => "",
        }
    }

    pub(crate) fn name(&self) -> &str {
        match &self.target {
            Target::Object { name, .. } | Target::Sub { name, .. } => name,
            Target::Discovery | Target::Review { .. } | Target::Collection { .. } | Target::Unknown => "",
        }
    }

    /// The part of an object that is asked for; empty for the whole.
    pub(crate) fn sub(&self) -> &str {
        if let Target::Sub { sub, .. } = &self.target { sub } else { "" }
    }
}

fn target(path: &str) -> Target {
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        [] | ["api" | "version" | "healthz" | "livez" | "readyz"] | ["apis"] | ["openapi", ..] => {
            return Target::Discovery;
        }
        ["readyz" | "livez" | "healthz", ..] | ["api", _] | ["apis", _] | ["apis", _, _] => {
            return Target::Discovery;
        }
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Target::Unknown,
    };
    let (namespace, rest) = match rest {
        // A namespace itself, and what is below it.
        ["namespaces", namespace, plural, rest @ ..]
            if kinds::find(group, version, plural).is_some_and(|kind| kind.namespaced)
                || *plural == "localsubjectaccessreviews" =>
        {
            (*namespace, [&[*plural], rest].concat())
        }
        rest => ("", rest.to_vec()),
    };
    if group == "authorization.k8s.io" {
        let kind = match rest.as_slice() {
            ["selfsubjectaccessreviews"] => "SelfSubjectAccessReview",
            ["selfsubjectrulesreviews"] => "SelfSubjectRulesReview",
            _ => return Target::Unknown,
        };
        return Target::Review { kind, namespace: namespace.to_owned() };
    }
    let Some(kind) = rest.first().and_then(|plural| kinds::find(group, version, plural)) else {
        return Target::Unknown;
    };
    let namespace = namespace.to_owned();
    match &rest[1..] {
        [] => Target::Collection { kind, namespace },
        [name] => Target::Object { kind, namespace, name: (*name).to_owned() },
        [name, sub] => Target::Sub { kind, namespace, name: (*name).to_owned(), sub: (*sub).to_owned() },
        _ => Target::Unknown,
    }
}

/// The parameters of a query, decoded.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let all = query.split('&').filter(|pair| !pair.is_empty());
    all.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(&value.replace('+', " ")))
    })
    .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.filter(|_| first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, uri: &str) -> Asked {
        Asked::new(&Request::builder().method(method).uri(uri).body(()).unwrap())
    }

    #[test]
    fn paths_name_kinds_objects_and_their_parts() {
        let one = asked("GET", "/apis/apps/v1/namespaces/shop/deployments/orders/scale");
        assert_eq!(
            (one.kind().unwrap().kind, one.namespace(), one.name(), one.sub()),
            ("Deployment", "shop", "orders", "scale")
        );
        let one = asked("DELETE", "/api/v1/namespaces/shop");
        assert_eq!((one.kind().unwrap().kind, one.name(), one.verb()), ("Namespace", "shop", "delete"));
        let one = asked("GET", "/api/v1/pods?watch=true&labelSelector=a%3Db%2Cc+in+%28d%29");
        assert_eq!((one.verb(), one.param("labelSelector")), ("watch", "a=b,c in (d)"));
        let one = asked("PATCH", "/api/v1/namespaces/shop/status");
        assert_eq!((one.name(), one.sub()), ("shop", "status"));
        assert!(matches!(asked("GET", "/apis/apps/v1").target(), Target::Discovery));
        assert!(matches!(asked("GET", "/apis/apps/v2/deployments").target(), Target::Unknown));
    }
}
