//! A container's command and variables, as a process of this machine gets them.
//!
//! A pod has no file system and no network of its own here. Paths below a mounted volume (and the image's program)
//! are led to files of this machine wherever they stand in command, arguments and variables; a variable that is an
//! address of the loopback is led to the pod's own address. Programs that are to listen at the pod's address find it
//! in `SIM_POD_IP`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::fields::field;
use super::images::Image;
use super::volumes::{place, values};
use crate::kinds;
use crate::object::{is_set, list, name, namespace, text};
use crate::store::Store;

/// What is the same for all containers of a pod.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) address: Ipv4Addr,
    pub(crate) nameserver: SocketAddr,
    pub(crate) api: SocketAddr,
    /// The pod's own: `volumes`, `home`, `resolv.conf`.
    pub(crate) folder: PathBuf,
}

impl Surroundings {
    pub(crate) fn volumes(&self) -> PathBuf {
        self.folder.join("volumes")
    }

    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.folder.join("resolv.conf")
    }

    fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Makes what is the same for all containers.
    pub(crate) fn prepare(&self, pod: &Value) -> std::io::Result<()> {
        std::fs::create_dir_all(self.home())?;
        let text = format!(
            "nameserver {}\nsearch {}\noptions ndots:5\n",
            self.nameserver.ip(),
            search(namespace(pod)).join(" ")
        );
        std::fs::write(self.resolv_conf(), text)
    }
}

fn search(of: &str) -> [String; 3] {
    [format!("{of}.svc.cluster.local"), "svc.cluster.local".into(), "cluster.local".into()]
}

/// The process of a container; with `instead` another one in its place, as exec wants it.
///
/// # Errors
/// What the container refers to and is not there.
pub(crate) fn command(
    store: &Store,
    pod: &Value,
    container: &Value,
    image: &Image,
    around: &Surroundings,
    instead: Option<&[String]>,
) -> Result<Command, String> {
    let paths = Paths::of(pod, container, around);
    let variables = variables(store, pod, container, around)?;
    let texts = |key: &str| -> Vec<String> {
        let all = list(container, key).iter().filter_map(Value::as_str);
        all.map(|text| expanded(text, &variables)).collect()
    };
    let mut words = match instead {
        Some(words) => words.to_vec(),
        None => {
            let mut words = texts("/command");
            if words.is_empty() {
                words.push(image.inside.clone());
            }
            words.extend(texts("/args"));
            words
        }
    };
    if words.is_empty() {
        return Err("there is no command".to_owned());
    }
    let first = words.remove(0);
    let program =
        if first == image.inside { image.program.clone() } else { PathBuf::from(paths.lead(&first)) };
    let mut command = Command::new(program);
    command.args(words.iter().map(|word| paths.lead(word)));
    command.env_clear();
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    command.env("PATH", path).env("HOME", around.home()).env("HOSTNAME", name(pod));
    for (key, value) in &variables {
        command.env(key, paths.lead(&own_loopback(value, around.address)));
    }
    // Last: these are facts of this place.
    command
        .env("SIM_POD_IP", around.address.to_string())
        .env("SIM_NAMESERVER", around.nameserver.to_string())
        .env("SIM_SEARCH", search(namespace(pod)).join(" "));
    for (key, value) in [
        ("KUBETETHER_NAMESERVER", around.nameserver.to_string()),
        ("KUBETETHER_RESOLV_CONF", around.resolv_conf().display().to_string()),
    ] {
        if !variables.contains_key(key) {
            command.env(key, value);
        }
    }
    let working = text(container, "/workingDir");
    let working = if working.is_empty() { around.home() } else { PathBuf::from(paths.lead(working)) };
    command.current_dir(if working.is_dir() { working } else { around.home() });
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// `127.0.0.1:PORT` is the pod's loopback, which here is its own address.
fn own_loopback(value: &str, address: Ipv4Addr) -> String {
    match value.parse::<SocketAddr>() {
        Ok(found) if found.ip() == Ipv4Addr::LOCALHOST => {
            SocketAddr::from((address, found.port())).to_string()
        }
        _ => value.to_owned(),
    }
}

/// Where a container's paths are on this machine.
struct Paths(Vec<(String, PathBuf)>);

impl Paths {
    fn of(pod: &Value, container: &Value, around: &Surroundings) -> Self {
        let mut all: Vec<_> = list(container, "/volumeMounts")
            .iter()
            .map(|mount| {
                let place = place(pod, text(mount, "/name"), &around.volumes());
                let place = place.join(text(mount, "/subPath"));
                (text(mount, "/mountPath").trim_end_matches('/').to_owned(), place)
            })
            .filter(|(inside, _)| !inside.is_empty())
            .collect();
        // Of two that fit, the longer one.
        all.sort_by_key(|(inside, _)| std::cmp::Reverse(inside.len()));
        Self(all)
    }

    /// The text with every path of the container led to its place: at the beginning, or behind one of `=:,<>('\"` or a space.
    fn lead(&self, text: &str) -> String {
        let mut led = String::with_capacity(text.len());
        let mut rest = text;
        let mut begins = true;
        while let Some(first) = rest.chars().next() {
            let found = self.0.iter().filter(|_| begins).find(|(inside, _)| {
                rest.strip_prefix(inside.as_str()).is_some_and(|after| {
                    after
                        .chars()
                        .next()
                        .is_none_or(|next| matches!(next, '/' | ':' | ',' | ' ' | ';' | '"' | '\'' | ')'))
                })
            });
            if let Some((inside, place)) = found {
                led.push_str(&place.to_string_lossy());
                rest = &rest[inside.len()..];
                begins = false;
                continue;
            }
            begins = matches!(first, '=' | ':' | ',' | ' ' | '"' | '\'' | '<' | '>' | '(');
            led.push(first);
            rest = &rest[first.len_utf8()..];
        }
        led
    }
}

fn variables(
    store: &Store,
    pod: &Value,
    container: &Value,
    around: &Surroundings,
) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    all.insert("KUBERNETES_SERVICE_HOST".to_owned(), around.api.ip().to_string());
    all.insert("KUBERNETES_SERVICE_PORT".to_owned(), around.api.port().to_string());
    if is_set(pod, "/spec/enableServiceLinks") {
        for service in store.list(kinds::of("services"), namespace(pod)) {
            let address = text(&service, "/spec/clusterIP");
            let port = list(&service, "/spec/ports").first().map(|port| port["port"].to_string());
            if let Some(port) = port.filter(|_| !matches!(address, "" | "None")) {
                let prefix = name(&service).to_uppercase().replace('-', "_");
                all.insert(format!("{prefix}_SERVICE_HOST"), address.to_owned());
                all.insert(format!("{prefix}_SERVICE_PORT"), port);
            }
        }
    }
    for source in list(container, "/envFrom") {
        let (plural, reference) = match (source.get("configMapRef"), source.get("secretRef")) {
            (Some(reference), _) => ("configmaps", reference),
            (None, Some(reference)) => ("secrets", reference),
            (None, None) => continue,
        };
        for (key, value) in keys(store, pod, plural, reference)? {
            all.insert(format!("{}{key}", text(source, "/prefix")), value);
        }
    }
    for variable in list(container, "/env") {
        let value = match variable.get("valueFrom") {
            None => Some(expanded(text(variable, "/value"), &all)),
            Some(source) => value_from(store, pod, container, source)?,
        };
        if let Some(value) = value {
            all.insert(text(variable, "/name").to_owned(), value);
        }
    }
    Ok(all)
}

fn value_from(
    store: &Store,
    pod: &Value,
    container: &Value,
    source: &Value,
) -> Result<Option<String>, String> {
    if let Some(reference) = source.get("fieldRef") {
        let path = text(reference, "/fieldPath");
        return field(pod, path).map(Some).ok_or_else(|| format!("unsupported fieldPath: {path}"));
    }
    if let Some(reference) = source.get("resourceFieldRef") {
        let resource = text(reference, "/resource");
        let found = container.pointer(&format!("/resources/{}", resource.replace('.', "/")));
        return Ok(Some(found.and_then(Value::as_str).unwrap_or("0").to_owned()));
    }
    for (kind, plural) in [("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")] {
        if let Some(reference) = source.get(kind) {
            let key = text(reference, "/key");
            let found = keys(store, pod, plural, reference)?.into_iter().find(|(known, _)| known == key);
            if found.is_none() && !is_set(reference, "/optional") {
                return Err(format!(
                    "couldn't find key {key} in {plural} {}/{}",
                    namespace(pod),
                    text(reference, "/name")
                ));
            }
            return Ok(found.map(|(_, value)| value));
        }
    }
    Ok(None)
}

fn keys(
    store: &Store,
    pod: &Value,
    plural: &str,
    reference: &Value,
) -> Result<Vec<(String, String)>, String> {
    let called = text(reference, "/name");
    match store.get(kinds::of(plural), namespace(pod), called) {
        Some(object) => {
            let all = values(plural, &object).into_iter();
            Ok(all.map(|(key, bytes)| (key, String::from_utf8_lossy(&bytes).into_owned())).collect())
        }
        None if is_set(reference, "/optional") => Ok(Vec::new()),
        None => Err(format!("{} \"{called}\" not found", kinds::of(plural).singular())),
    }
}

/// `$(NAME)` replaced where NAME is known; `$$` is `$`.
fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
            continue;
        }
        let inner = rest.strip_prefix("$(").and_then(|after| after.split_once(')'));
        match inner.and_then(|(key, after)| Some((variables.get(key)?, after))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('$');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The folder of a pod below the cluster's.
pub(crate) fn folder(all: &Path, uid: &str) -> PathBuf {
    all.join("pods").join(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_volumes_are_led_to_their_place() {
        let paths =
            Paths(vec![("/etc/app".into(), "/state/app".into()), ("/etc".into(), "/state/etc".into())]);
        for (text, led) in [
            ("/etc/app/x", "/state/app/x"),
            ("/etc/apple", "/state/etc/apple"),
            ("--file=/etc/app", "--file=/state/app"),
            ("a:/etc/x:b", "a:/state/etc/x:b"),
            ("http://host/etc/x", "http://host/etc/x"),
            ("/etcetera", "/etcetera"),
        ] {
            assert_eq!(paths.lead(text), led);
        }
    }

    #[test]
    fn variables_are_expanded_and_the_loopback_is_the_pods() {
        let known = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(expanded("x$(A)$(B)$$(A)$", &known), "x1$(B)$(A)$");
        let own = Ipv4Addr::new(127, 9, 1, 1);
        assert_eq!(own_loopback("127.0.0.1:80", own), "127.9.1.1:80");
        assert_eq!(own_loopback("10.0.0.1:80", own), "10.0.0.1:80");
    }
}
