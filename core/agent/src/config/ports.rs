//! `KUBETETHER_PORTS`; the syntax is told in [`super`].

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One port of the Service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Port {
    /// The Service's port number.
    pub number: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Where the agent listens, on every pod address.
    pub listen: u16,
    /// Where traffic goes that is not for a client.
    pub original: Original,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Where traffic goes that is not for a client: at least one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original(Vec<Target>);

/// One place of an original.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A fixed address.
    Address(SocketAddr),
    /// All addresses of a name.
    Name {
        /// The name, as the pod's resolver understands it.
        host: String,
        /// The port on each address.
        port: u16,
    },
}

impl Original {
    #[cfg(test)]
    pub(crate) fn new(targets: Vec<Target>) -> Self {
        Self(targets)
    }

    /// The targets, in the order they were given.
    pub fn targets(&self) -> &[Target] {
        &self.0
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Port>, String> {
    let ports = text.split(',').map(|entry| parse_port(entry.trim())).collect::<Result<Vec<_>, _>>()?;
    let (mut numbers, mut listens) = (HashSet::new(), HashSet::new());
    for port in &ports {
        if !numbers.insert((port.number, port.protocol)) {
            return Err(format!("names port {}/{} twice", port.number, port.protocol));
        }
        if !listens.insert((port.listen, port.protocol)) {
            return Err(format!("listens on {}/{} twice", port.listen, port.protocol));
        }
    }
    Ok(ports)
}

fn parse_port(entry: &str) -> Result<Port, String> {
    let wrong = |what: &str| format!("has {entry:?}: {what}, as in 80/TCP=47200>10.96.3.4:80");
    let (name, way) = entry.split_once('=').ok_or_else(|| wrong("no `=` after the Service's port"))?;
    let (number, protocol) = name.split_once('/').ok_or_else(|| wrong("no `/` and protocol"))?;
    let (listen, originals) = way.split_once('>').ok_or_else(|| wrong("no `>` and original address"))?;
    let targets = originals
        .split('|')
        .map(|target| {
            parse_target(target).ok_or_else(|| wrong("an original that is not address:port or name:port"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Port {
        number: parse_number(number).ok_or_else(|| wrong("a port that is not 1 to 65535"))?,
        protocol: match protocol {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            _ => return Err(wrong("a protocol that is not TCP or UDP")),
        },
        listen: parse_number(listen).ok_or_else(|| wrong("a listen port that is not 1 to 65535"))?,
        original: Original(targets),
    })
}

fn parse_target(text: &str) -> Option<Target> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then_some(Target::Address(address));
    }
    let (host, port) = text.rsplit_once(':')?;
    // An address that is wrong by a character must not become a name that is never found.
    let name = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && host.bytes().any(|byte| byte.is_ascii_alphabetic())
        && host.parse::<IpAddr>().is_err();
    name.then_some(Target::Name { host: host.to_owned(), port: parse_number(port)? })
}

fn parse_number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|number| *number != 0)
}
