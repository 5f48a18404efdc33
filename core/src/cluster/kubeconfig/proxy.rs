//! Which proxy, if any, stands between us and the API server: `proxy-url`, else the environment's, by Go's rules.
//!
//! kube applies `NO_PROXY` to the proxy's own address and to `proxy-url`; kubectl applies it to the API
//! server's, and only to a proxy of the environment.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

use super::Environment;
use super::error::LoadError;
use super::file::Secret;

const FROM_KUBECONFIG: &str = "proxy-url of the kubeconfig";

/// A proxy to go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    /// `scheme://host:port`, nothing else.
    pub(crate) address: Uri,
    pub(crate) login: Option<Login>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Http,
    Https,
    Socks5,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address.to_string().trim_end_matches('/'))
    }
}

/// The proxy for `server`; `proxy_url` is the kubeconfig's and wins. `None`: straight.
pub(crate) fn choose(
    proxy_url: &str,
    server: &Uri,
    env: Environment<'_>,
) -> Result<Option<Proxy>, LoadError> {
    if !proxy_url.is_empty() {
        if !proxy_url.contains("://") {
            return Err(refused(
                proxy_url,
                FROM_KUBECONFIG,
                "it needs a scheme: http://, https:// or socks5://",
            ));
        }
        return parse(proxy_url, FROM_KUBECONFIG).map(Some);
    }
    let (names, origin) = match server.scheme_str() {
        Some("https") => (["HTTPS_PROXY", "https_proxy"], "HTTPS_PROXY of the environment"),
        _ => (["HTTP_PROXY", "http_proxy"], "HTTP_PROXY of the environment"),
    };
    let Some(url) = first(env, names) else { return Ok(None) };
    let exceptions = first(env, ["NO_PROXY", "no_proxy"]).unwrap_or_default();
    if goes_straight(server, &exceptions) {
        return Ok(None);
    }
    // Go takes "proxy:3128" for "http://proxy:3128", and so does everybody's environment.
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    parse(&url, origin).map(Some)
}

fn first(env: Environment<'_>, names: [&str; 2]) -> Option<String> {
    names.iter().filter_map(|name| env(name)?.into_string().ok()).find(|value| !value.is_empty())
}

fn parse(url: &str, origin: &'static str) -> Result<Proxy, LoadError> {
    let uri: Uri = url.parse().map_err(|error| refused(url, origin, format!("it is not a URL: {error}")))?;
    let (kind, port) = match uri.scheme_str() {
        Some("http") => (ProxyKind::Http, 80),
        Some("https") => (ProxyKind::Https, 443),
        // Both leave the name to the proxy, as in Go.
        Some("socks5" | "socks5h") => (ProxyKind::Socks5, 1080),
        _ => return Err(refused(url, origin, "its scheme must be http, https or socks5")),
    };
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let (login, _) = authority.rsplit_once('@').unwrap_or(("", authority));
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err(refused(url, origin, "it names no host"));
    }
    let scheme = match kind {
        ProxyKind::Http => "http",
        ProxyKind::Https => "https",
        ProxyKind::Socks5 => "socks5",
    };
    let address = format!("{scheme}://{host}:{}", uri.port_u16().unwrap_or(port))
        .parse()
        .map_err(|error| refused(url, origin, format!("it is not a URL: {error}")))?;
    let login = (!login.is_empty()).then(|| {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        Login { user: percent_decode(user), password: Secret::new(percent_decode(password)) }
    });
    Ok(Proxy { kind, address, login })
}

fn refused(url: &str, origin: &'static str, problem: impl Into<String>) -> LoadError {
    // The login of a proxy is a password like any other.
    let url = match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://...{}", &url[..scheme], &url[at..]),
        (None, Some(at)) => format!("...{}", &url[at..]),
        _ => url.to_owned(),
    };
    LoadError::Proxy { url, origin, problem: problem.into() }
}

/// Whether `NO_PROXY` excepts this server. Loopback always goes straight, as in Go.
fn goes_straight(server: &Uri, exceptions: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let usual = if server.scheme_str() == Some("https") { 443 } else { 80 };
    let port = server.port_u16().unwrap_or(usual);
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    exceptions.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Ok(range) = entry.parse::<IpNet>() {
            return address.is_some_and(|address| range.contains(&address));
        }
        let (name, wanted) = split_port(&entry);
        if wanted.is_some_and(|wanted| wanted != port) {
            return false;
        }
        if let Ok(excepted) = name.parse::<IpAddr>() {
            return address == Some(excepted);
        }
        let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
        match name.strip_prefix('.') {
            Some(_) => host.ends_with(name),
            None => {
                !name.is_empty()
                    && (host == name || host.strip_suffix(name).is_some_and(|head| head.ends_with('.')))
            }
        }
    })
}

fn split_port(entry: &str) -> (&str, Option<u16>) {
    if let Some(rest) = entry.strip_prefix('[') {
        let (name, port) = rest.split_once(']').unwrap_or((rest, ""));
        return (name, port.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match entry.rsplit_once(':') {
        // More than one colon is an IPv6 address without brackets.
        Some((name, port)) if !name.contains(':') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| first == b'%').and_then(|digits| {
            let [high, low] = [digits[0], digits[1]].map(|digit| char::from(digit).to_digit(16));
            u8::try_from(high? * 16 + low?).ok()
        });
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(*value))
    }

    fn server(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn the_kubeconfigs_proxy_wins_and_no_proxy_does_not_touch_it() {
        let env = env(&[("HTTPS_PROXY", "http://other:1"), ("NO_PROXY", "*")]);
        let proxy = choose("socks5://u%40x:p%3Aw@127.0.0.1", &server("https://127.0.0.1:6443"), &env)
            .unwrap()
            .unwrap();
        assert_eq!(proxy.kind, ProxyKind::Socks5);
        assert_eq!(proxy.address, "socks5://127.0.0.1:1080");
        assert_eq!(proxy.login, Some(Login { user: "u@x".into(), password: Secret::new("p:w") }));
    }

    #[test]
    fn the_environments_proxy_follows_the_scheme_and_may_lack_one() {
        let env = env(&[("https_proxy", "proxy.corp:3128"), ("HTTP_PROXY", "https://plain.corp")]);
        let https = choose("", &server("https://api.example.com"), &env).unwrap().unwrap();
        assert_eq!(
            (https.kind, https.address.to_string()),
            (ProxyKind::Http, "http://proxy.corp:3128/".into())
        );
        let http = choose("", &server("http://api.example.com"), &env).unwrap().unwrap();
        assert_eq!(
            (http.kind, http.address.to_string()),
            (ProxyKind::Https, "https://plain.corp:443/".into())
        );
    }

    #[test]
    fn no_proxy_has_gos_meaning() {
        let cases = [
            ("https://api.example.com", "example.com", true),
            ("https://example.com", "example.com", true),
            ("https://notexample.com", "example.com", false),
            ("https://example.com", ".example.com", false),
            ("https://api.example.com", "*.Example.com", true),
            ("https://api.example.com", "example.com:443", true),
            ("https://api.example.com:6443", "example.com:443", false),
            ("https://10.1.2.3:6443", "192.168.0.0/16, 10.0.0.0/8", true),
            ("https://10.1.2.3:6443", "10.1.2.3", true),
            ("https://10.1.2.3:6443", "10.1.2.3:443", false),
            ("https://[fd00::1]:6443", "fd00::/8", true),
            ("https://[fd00::1]:6443", "[fd00::1]:6443", true),
            ("https://[fd00::1]:6443", "fd00::2", false),
            ("https://api.example.com", "*", true),
            ("https://api.example.com", " , ,nonsense/33", false),
            ("https://localhost:6443", "", true),
            ("https://127.0.0.5:6443", "", true),
            ("https://[::1]:6443", "", true),
            ("https://10.0.0.1", "", false),
        ];
        for (to, exceptions, straight) in cases {
            assert_eq!(goes_straight(&server(to), exceptions), straight, "{to} with NO_PROXY={exceptions}");
        }
    }

    #[test]
    fn an_unusable_proxy_is_refused_without_showing_its_password() {
        let to = server("https://api.example.com");
        for url in ["ftp://u:hush@proxy", "u:hush@proxy:1", "http://u:hush@", "http://u:hush@exa mple"] {
            let error = choose(url, &to, &env(&[])).unwrap_err();
            let LoadError::Proxy { .. } = &error else { panic!("{url}: {error:?}") };
            assert!(!format!("{error} {error:?}").contains("hush"), "{url}: {error}");
        }
    }
}
