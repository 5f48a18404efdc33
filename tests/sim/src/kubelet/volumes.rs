//! Volumes, written as files of this machine.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::fields::field;
use crate::kinds;
use crate::object::{is_set, list, namespace, number, text};
use crate::store::Store;
use crate::tokens::Tokens;

const MODE: i64 = 0o644;

/// Why a volume is not there yet.
pub(crate) type Missing = String;

/// A file of a volume.
struct File {
    path: String,
    bytes: Vec<u8>,
    mode: i64,
}

/// What volumes are filled from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) store: &'a Store,
    pub(crate) tokens: &'a Tokens,
    /// The authority of the API, PEM.
    pub(crate) authority: &'a str,
}

/// Makes all volumes of a pod below `folder`.
pub(crate) fn make(sources: Sources<'_>, pod: &Value, folder: &Path) -> Result<(), Missing> {
    for volume in list(pod, "/spec/volumes") {
        let called = text(volume, "/name");
        let place = folder.join(called);
        let failed = |error: io::Error| format!("MountVolume.SetUp failed for volume \"{called}\": {error}");
        std::fs::create_dir_all(&place).map_err(failed)?;
        for file in files(sources, pod, volume)? {
            write(&place, &file).map_err(failed)?;
        }
    }
    Ok(())
}

/// Where a volume is: a folder of the pod's, or, for `hostPath`, the path itself.
pub(crate) fn place(pod: &Value, called: &str, folder: &Path) -> PathBuf {
    let volume = list(pod, "/spec/volumes").iter().find(|volume| text(volume, "/name") == called);
    match volume.and_then(|volume| volume.pointer("/hostPath/path")).and_then(Value::as_str) {
        Some(path) => PathBuf::from(path),
        None => folder.join(called),
    }
}

fn files(sources: Sources<'_>, pod: &Value, volume: &Value) -> Result<Vec<File>, Missing> {
    if let Some(source) = volume.get("configMap") {
        return keys(sources, pod, "configmaps", text(source, "/name"), source);
    }
    if let Some(source) = volume.get("secret") {
        return keys(sources, pod, "secrets", text(source, "/secretName"), source);
    }
    if let Some(source) = volume.get("downwardAPI") {
        return Ok(downward(pod, source));
    }
    let mut all = Vec::new();
    if let Some(projected) = volume.get("projected") {
        for source in list(projected, "/sources") {
            all.extend(projection(sources, pod, source)?);
        }
        if let Some(mode) = number(projected, "/defaultMode") {
            all.iter_mut().filter(|file| file.mode == MODE).for_each(|file| file.mode = mode);
        }
    }
    Ok(all)
}

fn projection(sources: Sources<'_>, pod: &Value, source: &Value) -> Result<Vec<File>, Missing> {
    if let Some(source) = source.get("configMap") {
        return match text(source, "/name") {
            // Every namespace of a real cluster has it.
            "kube-root-ca.crt" => Ok(vec![file("ca.crt", sources.authority.as_bytes())]),
            called => keys(sources, pod, "configmaps", called, source),
        };
    }
    if let Some(source) = source.get("secret") {
        return keys(sources, pod, "secrets", text(source, "/name"), source);
    }
    if let Some(source) = source.get("serviceAccountToken") {
        return Ok(vec![file(text(source, "/path"), sources.tokens.make().as_bytes())]);
    }
    Ok(source.get("downwardAPI").map(|source| downward(pod, source)).unwrap_or_default())
}

fn file(path: &str, bytes: &[u8]) -> File {
    File { path: path.to_owned(), bytes: bytes.to_vec(), mode: MODE }
}

fn downward(pod: &Value, source: &Value) -> Vec<File> {
    let items = list(source, "/items").iter();
    items
        .map(|item| {
            file(
                text(item, "/path"),
                field(pod, text(item, "/fieldRef/fieldPath")).unwrap_or_default().as_bytes(),
            )
        })
        .collect()
}

/// The keys of a ConfigMap or Secret, or those of them that are listed.
fn keys(
    sources: Sources<'_>,
    pod: &Value,
    plural: &str,
    called: &str,
    source: &Value,
) -> Result<Vec<File>, Missing> {
    let Some(object) = sources.store.get(kinds::of(plural), namespace(pod), called) else {
        if is_set(source, "/optional") {
            return Ok(Vec::new());
        }
        let kind = kinds::of(plural).singular();
        return Err(format!("MountVolume.SetUp failed: {kind} \"{called}\" not found"));
    };
    let mode = number(source, "/defaultMode").unwrap_or(MODE);
    let all = values(plural, &object);
    let items = list(source, "/items");
    if items.is_empty() {
        return Ok(all.into_iter().map(|(path, bytes)| File { path, bytes, mode }).collect());
    }
    items
        .iter()
        .map(|item| {
            let key = text(item, "/key");
            let found = all.iter().find(|(known, _)| known == key);
            let (_, bytes) = found.ok_or_else(|| {
                format!("MountVolume.SetUp failed: references non-existent config key: {key}")
            })?;
            let path = text(item, "/path").to_owned();
            Ok(File { path, bytes: bytes.clone(), mode: number(item, "/mode").unwrap_or(mode) })
        })
        .collect()
}

/// The keys and their bytes.
pub(crate) fn values(plural: &str, object: &Value) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for field in ["data", "binaryData"] {
        let encoded = plural == "secrets" || field == "binaryData";
        for (key, value) in object.get(field).and_then(Value::as_object).into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            let bytes =
                if encoded { STANDARD.decode(text).unwrap_or_default() } else { text.as_bytes().to_vec() };
            all.push((key.clone(), bytes));
        }
    }
    all
}

fn write(folder: &Path, file: &File) -> io::Result<()> {
    let path = Path::new(&file.path);
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} leads out of the volume", file.path),
        ));
    }
    let path = folder.join(path);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&path, &file.bytes)?;
    let mode = u32::try_from(file.mode & 0o777).unwrap_or(0o644);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode | 0o400))
}
