//! Where inbound traffic goes on this machine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, ErrorCode};

/// One endpoint on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Local {
    /// A TCP port of a host, `127.0.0.1` most of the time.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Which ports of a Service come here, and to which endpoints.
///
/// As text: `8080`, `8080,8443:443`, `host:9000:80`, `/run/app.sock:80`; each entry is a local endpoint
/// and, after the last colon, the Service's port by number or name. An entry without a Service port
/// means the Service's port of that number, else the one whose target port has that number, else the
/// only TCP port there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) local: Local,
    pub(crate) service_port: Option<String>,
}

/// A TCP port of a Service as [`To::resolve`] needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) number: u16,
    pub(crate) name: Option<String>,
    /// The target port when it is a number.
    pub(crate) target: Option<u16>,
}

impl To {
    /// A port of `127.0.0.1`.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self::local(Local::Tcp { host: "127.0.0.1".into(), port })
    }

    /// A port of a host that this machine reaches.
    #[must_use]
    pub fn address(host: impl Into<String>, port: u16) -> Self {
        Self::local(Local::Tcp { host: host.into(), port })
    }

    /// A unix socket.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::local(Local::Unix(path.into()))
    }

    fn local(local: Local) -> Self {
        Self { entries: vec![Entry { local, service_port: None }] }
    }

    /// Says which port of the Service the last endpoint serves, by number or name.
    #[must_use]
    pub fn for_service_port(mut self, port: impl fmt::Display) -> Self {
        if let Some(entry) = self.entries.last_mut() {
            entry.service_port = Some(port.to_string());
        }
        self
    }

    /// Adds the endpoints of `other`.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self
    }

    /// Which endpoint serves which of the Service's TCP ports.
    pub(crate) fn resolve(&self, offered: &[Offered]) -> Result<Vec<(u16, Local)>, Error> {
        let mut map: Vec<(u16, Local)> = Vec::new();
        for entry in &self.entries {
            if let Local::Unix(path) = &entry.local {
                is_socket_path(path)?;
            }
            let number = pick(entry, offered)?;
            if map.iter().any(|(taken, _)| *taken == number) {
                return Err(no_port(
                    format!("the Service's port {number} is given two local endpoints"),
                    offered,
                ));
            }
            map.push((number, entry.local.clone()));
        }
        Ok(map)
    }
}

/// The system takes no other: `sockaddr_un` holds the path and the NUL behind it in 108 bytes on Linux (unix(7)), in 104 on
/// macOS.
fn is_socket_path(path: &Path) -> Result<(), Error> {
    const MOST: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
    let bytes = path.as_os_str().as_encoded_bytes();
    let why = match bytes.len() {
        1..=MOST if !bytes.contains(&0) => return Ok(()),
        1..=MOST => "has a NUL in it".to_owned(),
        length => format!("has {length} bytes, and may have 1 to {MOST}"),
    };
    let shown: String = path.to_string_lossy().chars().take(MOST).collect();
    Err(Error::new(ErrorCode::Config, format!("the path of the Unix socket {shown:?} {why}")))
}

fn pick(entry: &Entry, offered: &[Offered]) -> Result<u16, Error> {
    if let Some(wanted) = &entry.service_port {
        let found = offered
            .iter()
            .find(|port| wanted.parse() == Ok(port.number) || port.name.as_deref() == Some(wanted));
        return found
            .map(|port| port.number)
            .ok_or_else(|| no_port(format!("the Service has no TCP port `{wanted}`"), offered));
    }
    let local = match &entry.local {
        Local::Tcp { port, .. } => Some(*port),
        Local::Unix(_) => None,
    };
    let by_number = offered.iter().find(|port| Some(port.number) == local);
    let mut by_target = offered.iter().filter(|port| port.target.is_some() && port.target == local);
    let by_target = by_target.next().filter(|_| by_target.next().is_none());
    match (by_number.or(by_target), offered) {
        (Some(port), _) | (None, [port]) => Ok(port.number),
        (None, []) => Err(no_port("the Service has no TCP port".into(), offered)),
        (None, _) => {
            Err(no_port(format!("`{}` could serve any of the Service's ports", entry.local), offered)
                .try_this(format!("say which, as in {}:{}", entry.local, offered[0].number)))
        }
    }
}

fn no_port(message: String, offered: &[Offered]) -> Error {
    let ports: Vec<String> = offered
        .iter()
        .map(|port| match &port.name {
            Some(name) => format!("{} ({name})", port.number),
            None => port.number.to_string(),
        })
        .collect();
    let ports = if ports.is_empty() { "none".into() } else { ports.join(", ") };
    Error::new(ErrorCode::NoSuchPort, format!("{message}; its TCP ports: {ports}"))
}

impl FromStr for To {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let entries = text.split(',').map(|part| parse_entry(part.trim())).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { entries })
    }
}

fn parse_entry(text: &str) -> Result<Entry, Error> {
    let bad = |why: &str| {
        Error::new(ErrorCode::Config, format!("local endpoint `{text}`: {why}"))
            .try_this("write PORT, PORT:SERVICE_PORT, HOST:PORT:SERVICE_PORT or /PATH[:SERVICE_PORT], separated by commas")
    };
    let port = |text: &str| match text.parse::<u16>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(bad(&format!("`{text}` is not a port (1 to 65535)"))),
    };
    if text.starts_with('/') || text.starts_with('.') {
        let (path, service_port) = match text.rsplit_once(':') {
            Some((path, port)) => (path, Some(port.to_owned())),
            None => (text, None),
        };
        return Ok(Entry { local: Local::Unix(path.into()), service_port });
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once("]:").ok_or_else(|| bad("no `]:` after the IPv6 address"))?;
        let (number, service_port) = split_service_port(rest);
        return Ok(Entry { local: Local::Tcp { host: host.into(), port: port(number)? }, service_port });
    }
    let mut parts = text.splitn(3, ':');
    let first = parts.next().unwrap_or_default();
    // Also one that is no port: 80800.
    let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    let (host, rest) = match text.split_once(':') {
        _ if is_number => ("127.0.0.1", text),
        Some((_, rest)) if rest.starts_with("//") => {
            return Err(bad("it is no URL: leave out what comes before the host, and the path"));
        }
        Some((host, rest)) if !host.is_empty() => (host, rest),
        _ => return Err(bad("no port; a path begins with / or .")),
    };
    let (number, service_port) = split_service_port(rest);
    if service_port.as_deref().is_some_and(|port| port.is_empty() || port.contains(':')) {
        return Err(bad("the Service's port is missing or malformed"));
    }
    Ok(Entry { local: Local::Tcp { host: host.into(), port: port(number)? }, service_port })
}

fn split_service_port(text: &str) -> (&str, Option<String>) {
    match text.split_once(':') {
        Some((number, service)) => (number, Some(service.to_owned())),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_no_socket_can_have_are_refused() {
        let there = offered(&[(80, "http", 8080)]);
        for (path, good) in
            [("/x".to_owned(), true), ("/x\0y".into(), false), (format!("/{}", "x".repeat(120)), false)]
        {
            assert_eq!(To::unix(path.as_str()).resolve(&there).is_ok(), good, "{path:?}");
        }
    }

    fn offered(list: &[(u16, &str, u16)]) -> Vec<Offered> {
        list.iter()
            .map(|(number, name, target)| Offered {
                number: *number,
                name: Some((*name).into()),
                target: (*target > 0).then_some(*target),
            })
            .collect()
    }

    fn resolve(text: &str, ports: &[(u16, &str, u16)]) -> Result<Vec<(u16, String)>, Error> {
        let map = text.parse::<To>()?.resolve(&offered(ports))?;
        Ok(map.into_iter().map(|(port, local)| (port, local.to_string())).collect())
    }

    #[test]
    fn the_only_port_needs_no_name() {
        assert_eq!(resolve("8080", &[(80, "http", 0)]).unwrap(), [(80, "127.0.0.1:8080".into())]);
    }

    #[test]
    fn a_port_is_found_by_number_then_by_target() {
        let ports = [(80, "http", 8080), (8443, "https", 0)];
        assert_eq!(resolve("8080", &ports).unwrap(), [(80, "127.0.0.1:8080".into())]);
        assert_eq!(resolve("8443", &ports).unwrap(), [(8443, "127.0.0.1:8443".into())]);
    }

    #[test]
    fn all_forms() {
        let ports = [(80, "http", 0), (443, "https", 0)];
        assert_eq!(
            resolve("8080:http,8443:443", &ports).unwrap(),
            [(80, "127.0.0.1:8080".into()), (443, "127.0.0.1:8443".into())]
        );
        assert_eq!(resolve("box:9000:80", &ports).unwrap(), [(80, "box:9000".into())]);
        assert_eq!(resolve("[::1]:9000:80", &ports).unwrap(), [(80, "[::1]:9000".into())]);
        assert_eq!(resolve("/run/a.sock:443", &ports).unwrap(), [(443, "/run/a.sock".into())]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let ports = [(80, "http", 0), (443, "https", 0)];
        for text in ["9000", "80:81", "80:80,81:80", "80:80,"] {
            assert!(resolve(text, &ports).is_err(), "{text}");
        }
        for (text, why) in [
            ("", "no port"),
            ("x", "no port; a path begins"),
            ("app.py", "no port; a path begins"),
            (":", "no port"),
            ("0", "`0` is not a port (1 to 65535)"),
            ("70000", "`70000` is not a port"),
            ("http://localhost:80", "no URL"),
            ("80:", "Service's port"),
            ("a:b:c:d", "Service's port"),
            ("[::1]9000", "no `]:`"),
        ] {
            let refused = text.parse::<To>().unwrap_err().to_string();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
