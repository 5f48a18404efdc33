//! Names to addresses, as the pod's resolver settings say: search domains, ndots, hosts file.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ProtocolConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::time::timeout;

/// For one name, all search domains and retries together.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// For one question to one server: a datagram that was lost is asked again well within [`DEADLINE`].
const ATTEMPT: Duration = Duration::from_secs(2);
/// Names kept, as long as their TTL says.
const CACHED: u64 = 512;

/// Resolves with the settings it was made with; they are read at the first name.
#[derive(Debug)]
pub(crate) struct Resolver {
    resolv_conf: PathBuf,
    nameserver: Option<SocketAddr>,
    inner: OnceLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    resolver: TokioResolver,
    /// Search domains, each with its final dot.
    domains: Vec<String>,
    ndots: usize,
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The name does not exist, or has neither A nor AAAA.
    #[error("the name has no address (tried with the pod's search domains)")]
    NotFound,
    /// No server answered in time.
    #[error("the name servers did not answer within {} s", DEADLINE.as_secs())]
    TimedOut,
    /// The resolver's file cannot be used.
    #[error("cannot read {}: {error}", path.display())]
    Settings { path: PathBuf, error: String },
    /// The servers answered with an error.
    #[error("the name servers failed: {0}")]
    Failed(String),
}

impl Resolver {
    pub(crate) fn new(resolv_conf: PathBuf, nameserver: Option<SocketAddr>) -> Self {
        Self { resolv_conf, nameserver, inner: OnceLock::new() }
    }

    /// All addresses of `host`, A before AAAA; an address is its own. Cancel-safe.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        let inner = self.inner()?;
        timeout(DEADLINE, inner.search(host)).await.unwrap_or(Err(ResolveError::TimedOut))
    }

    fn inner(&self) -> Result<&Inner, ResolveError> {
        if let Some(inner) = self.inner.get() {
            return Ok(inner);
        }
        let inner = self.build()?;
        Ok(self.inner.get_or_init(|| inner))
    }

    fn build(&self) -> Result<Inner, ResolveError> {
        let wrong = |error: String| ResolveError::Settings { path: self.resolv_conf.clone(), error };
        let text = match std::fs::read(&self.resolv_conf) {
            Ok(text) => text,
            // With a server of its own the file is not needed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.nameserver.is_some() => Vec::new(),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let (config, mut options) = match (parse_resolv_conf(&text), self.nameserver) {
            (Ok(parsed), _) => parsed,
            // A file without servers is an error to the parser, though not to us.
            (Err(_), Some(_)) => {
                let with_server = [text.as_slice(), b"\nnameserver 127.0.0.1\n"].concat();
                parse_resolv_conf(with_server).map_err(|error| wrong(error.to_string()))?
            }
            (Err(error), None) => return Err(wrong(error.to_string())),
        };
        let servers = match self.nameserver {
            Some(address) => vec![server(address)],
            None => config.name_servers().to_vec(),
        };
        // The domain of the machine's own host name, which the parser adds, is none of a pod's search domains.
        let domains = config.search().iter().map(|domain| absolute(&domain.to_utf8())).collect();
        let ndots = options.ndots;
        // The search is ours: see `Inner::search`.
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = options.timeout.min(ATTEMPT);
        options.cache_size = CACHED;
        options.try_tcp_on_error = true;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| wrong(error.to_string()))?;
        Ok(Inner { resolver, domains, ndots })
    }
}

impl Inner {
    /// Asks for the name below each search domain and by itself. A cluster without a name server of the internet
    /// answers the name by itself with a failure: that must not hide that the cluster does not know it.
    async fn search(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut denied = false;
        let mut failed = None;
        for name in candidates(host, &self.domains, self.ndots) {
            match self.ask(&name).await {
                Err(ResolveError::NotFound) => denied = true,
                Err(error @ ResolveError::Failed(_)) => failed = Some(error),
                done => return done,
            }
        }
        match failed {
            Some(error) if !denied => Err(error),
            _ => Err(ResolveError::NotFound),
        }
    }

    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        match self.resolver.lookup_ip(name).await {
            Ok(lookup) => {
                let addresses: Vec<_> = lookup.iter().collect();
                if addresses.is_empty() { Err(ResolveError::NotFound) } else { Ok(addresses) }
            }
            Err(error) if error.is_no_records_found() => Err(ResolveError::NotFound),
            Err(NetError::Timeout) => Err(ResolveError::TimedOut),
            // Not a name at all: too long, a label too long, a character that cannot be.
            Err(NetError::Proto(_)) => Err(ResolveError::NotFound),
            Err(error) => Err(ResolveError::Failed(error.to_string())),
        }
    }
}

/// The full names a short one may stand for, in the order of resolv.conf(5).
fn candidates(host: &str, domains: &[String], ndots: usize) -> Vec<String> {
    let itself = absolute(host);
    if host.ends_with('.') {
        return vec![itself];
    }
    let below = domains.iter().map(|domain| format!("{host}.{domain}"));
    if host.matches('.').count() >= ndots {
        std::iter::once(itself).chain(below).collect()
    } else {
        below.chain(std::iter::once(itself)).collect()
    }
}

fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_searched_first_and_long_ones_last() {
        let domains = ["shop.svc.cluster.local.".to_owned(), "cluster.local.".to_owned()];
        assert_eq!(candidates("db", &domains, 5), ["db.shop.svc.cluster.local.", "db.cluster.local.", "db."]);
        assert_eq!(candidates("a.b", &domains, 1)[0], "a.b.");
        assert_eq!(candidates("a.b.", &domains, 5), ["a.b."]);
    }

    #[tokio::test]
    async fn addresses_are_not_asked_for() {
        let resolver = Resolver::new("/nowhere".into(), None);
        for (host, expected) in [("10.0.0.1", "10.0.0.1"), ("fd00::1", "fd00::1"), ("[fd00::1]", "fd00::1")] {
            assert_eq!(resolver.addresses(host).await.unwrap(), [expected.parse::<IpAddr>().unwrap()]);
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let resolver = Resolver::new("/nowhere/resolv.conf".into(), None);
        let error = resolver.addresses("orders").await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/resolv.conf"), "{error}");
    }
}
