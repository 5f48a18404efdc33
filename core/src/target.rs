//! Targets and destinations as users write them.

use std::fmt;
use std::str::FromStr;

use crate::{Error, ErrorCode};

/// The kinds of object a [`Target`] may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TargetKind {
    /// `svc/x`, or a bare `x`.
    Service,
    /// `deploy/x`.
    Deployment,
    /// `sts/x`.
    StatefulSet,
    /// `ds/x`.
    DaemonSet,
    /// `job/x`.
    Job,
    /// `pod/x`.
    Pod,
}

impl TargetKind {
    /// The short form that users write.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "svc",
            Self::Deployment => "deploy",
            Self::StatefulSet => "sts",
            Self::DaemonSet => "ds",
            Self::Job => "job",
            Self::Pod => "pod",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "svc" | "service" | "services" => Self::Service,
            "deploy" | "deployment" | "deployments" => Self::Deployment,
            "sts" | "statefulset" | "statefulsets" => Self::StatefulSet,
            "ds" | "daemonset" | "daemonsets" => Self::DaemonSet,
            "job" | "jobs" => Self::Job,
            "po" | "pod" | "pods" => Self::Pod,
            _ => return None,
        })
    }
}

/// What is addressed in the cluster: `svc/x`, `deploy/x`, …; a bare `x` is a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    kind: TargetKind,
    name: String,
}

impl Target {
    /// The kind of object.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        self.kind
    }

    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (kind, name) = match text.split_once('/') {
            None => (TargetKind::Service, text),
            Some((kind, name)) => {
                let known = TargetKind::parse(kind).ok_or_else(|| {
                    config(format!("target `{text}`: `{kind}` is not a kind kubetether knows"))
                        .try_this("write svc/NAME, deploy/NAME, sts/NAME, ds/NAME, job/NAME, pod/NAME or just the Service's name")
                })?;
                (known, name)
            }
        };
        if !is_object_name(name) {
            return Err(config(format!("target `{text}`: `{name}` cannot be the name of an object")));
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

impl TryFrom<&str> for Target {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<String> for Target {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

/// Where a forward leads: a host or a [`Target`], and a port.
///
/// Written `db:5432`, `db.other:5432`, `10.0.0.7:80`, `[fd00::7]:80`, `pod/db-0:5432`, `deploy/web:http`; with `/udp` behind it
/// where the port is one of UDP, as in `kube-dns.kube-system:53/udp`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    pub(crate) host: Host,
    pub(crate) port: PortRef,
    pub(crate) protocol: Protocol,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// As Kubernetes writes it: `TCP` or `UDP`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    /// Splits `/tcp` or `/udp` off the end of a port; TCP is meant without.
    pub(crate) fn split(text: &str) -> (&str, Self) {
        match (text.strip_suffix("/udp"), text.strip_suffix("/tcp")) {
            (Some(port), _) => (port, Self::Udp),
            (None, Some(port)) => (port, Self::Tcp),
            (None, None) => (text, Self::Tcp),
        }
    }
}

/// The host part of a [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    /// A name or address as the cluster's own programs would use it.
    Name(String),
    /// An object; its pods or its name are looked up at each connection.
    Target(Target),
}

/// A port by number or by the name that a Service or container gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PortRef {
    Number(u16),
    Name(String),
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl PortRef {
    fn parse(text: &str, whole: &str) -> Result<Self, Error> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(number) if number > 0 => Ok(Self::Number(number)),
                _ => Err(config(format!("`{whole}`: `{text}` is not a port (1 to 65535)"))),
            };
        }
        // IANA service names, as Kubernetes allows them for ports: at most 15 of these.
        let ok = text.len() <= 15 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if ok {
            Ok(Self::Name(text.to_owned()))
        } else {
            Err(config(format!("`{whole}`: `{text}` is not a port")))
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port)?,
            Host::Name(name) => write!(f, "{name}:{}", self.port)?,
            Host::Target(target) => write!(f, "{target}:{}", self.port)?,
        }
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(
                config(format!("destination `{text}`: no port")).try_this("write HOST:PORT, as in db:5432")
            );
        };
        let (port, protocol) = Protocol::split(port);
        let port = PortRef::parse(port, text)?;
        let host = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => Host::Name(inner.to_owned()),
            Some(inner) => {
                return Err(config(format!("destination `{text}`: `{inner}` is not an IPv6 address")));
            }
            None if host.contains('/') => Host::Target(host.parse()?),
            None if is_host_name(host) => Host::Name(host.to_owned()),
            None => {
                return Err(config(format!("destination `{text}`: `{host}` is not a host name or address")));
            }
        };
        if let (Host::Name(_), PortRef::Name(name)) = (&host, &port) {
            return Err(config(format!(
                "destination `{text}`: the port `{name}` has a name, and a host has no named ports"
            ))
            .try_this("use the port's number, or an object as in svc/db:postgres"));
        }
        Ok(Self { host, port, protocol })
    }
}

impl TryFrom<&str> for Destination {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<String> for Destination {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<(&str, u16)> for Destination {
    type Error = Error;

    fn try_from((host, port): (&str, u16)) -> Result<Self, Error> {
        let text = if host.parse::<std::net::Ipv6Addr>().is_ok() {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        text.parse()
    }
}

fn config(message: String) -> Error {
    Error::new(ErrorCode::Config, message)
}

/// Kubernetes' rule for most object names: an RFC 1123 subdomain of at most 253 characters.
fn is_object_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// That for namespaces: an RFC 1123 label of at most 63 characters.
pub(crate) fn is_namespace(name: &str) -> bool {
    name.len() <= 63 && is_label(name)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Host names may carry upper case, underscores and a final dot, which object names may not.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_a_service() {
        let target: Target = "orders".parse().unwrap();
        assert_eq!((target.kind(), target.name()), (TargetKind::Service, "orders"));
        assert_eq!("deployment/x.y-1".parse::<Target>().unwrap().to_string(), "deploy/x.y-1");
    }

    #[test]
    fn bad_targets_are_refused() {
        for text in ["", "svc/", "Orders", "a b", "frob/x", "svc/a/b", "-a", "a-", "a..b", "ä"] {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn destinations_in_all_forms() {
        for (text, shown) in [
            ("db:5432", "db:5432"),
            ("db.other.svc.cluster.local.:1", "db.other.svc.cluster.local.:1"),
            ("10.0.0.7:80", "10.0.0.7:80"),
            ("[fd00::7]:80", "[fd00::7]:80"),
            ("pod/db-0:5432", "pod/db-0:5432"),
            ("service/web:http", "svc/web:http"),
            ("dns.kube-system:53/udp", "dns.kube-system:53/udp"),
            ("svc/dns:dns/udp", "svc/dns:dns/udp"),
            ("[fd00::7]:53/udp", "[fd00::7]:53/udp"),
            ("db:5432/tcp", "db:5432"),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn bad_destinations_are_refused() {
        for text in [
            "db",
            "db:",
            "db:0",
            "db:65536",
            ":80",
            "[::1:80",
            "[x]:80",
            "fd00::7:80",
            "db:http",
            "a b:1",
            "x/y:1",
            "db:53/sctp",
            "db:/udp",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text:?}");
        }
    }
}
