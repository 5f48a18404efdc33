//! All objects, and every change of them in its order.

mod delete;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

pub(crate) use self::delete::Deletion;
pub(crate) use self::write::tell;
use crate::addresses::Addresses;
use crate::failure::Failure;
use crate::kinds::{self, Kind};
use crate::object::{name, namespace};
use crate::patch::Applied;

/// Changes that are kept, and about how many bytes of files they may hold (a carried agent is more than a megabyte); a
/// watch that wants to begin before the oldest is told 410.
const CHANGES: usize = 4096;
const HELD: usize = 32 << 20;

/// An object; shared, never changed in place.
pub(crate) type Object = Arc<Value>;

/// Everything that is stored.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    // store -> watches, controllers, kubelet: the last change's number
    latest: watch::Sender<u64>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Added,
    Modified,
    Deleted,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) kind: &'static Kind,
    pub(crate) what: What,
    pub(crate) object: Object,
    pub(crate) before: Option<Object>,
}

type Key = (&'static str, String, String);

/// The objects, under the store's lock.
#[derive(Debug)]
pub(crate) struct Inner {
    objects: BTreeMap<Key, Object>,
    version: u64,
    changes: VecDeque<Change>,
    /// Of the objects in the changes.
    held: usize,
    /// The oldest version that a watch can begin after.
    oldest: u64,
    pub(crate) applied: Applied,
    pub(crate) addresses: Addresses,
}

impl Store {
    pub(crate) fn new(addresses: Addresses) -> Self {
        let inner = Inner {
            objects: BTreeMap::new(),
            version: 1,
            changes: VecDeque::new(),
            held: 0,
            oldest: 1,
            applied: Applied::default(),
            addresses,
        };
        Self { inner: Mutex::new(inner), latest: watch::Sender::new(1) }
    }

    /// Reads or writes; what is written within is seen by others at once.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let before = inner.version;
        let done = work(&mut inner);
        if inner.version != before {
            self.latest.send_replace(inner.version);
        }
        done
    }

    /// Tells the last change's number.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    pub(crate) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Object> {
        self.with(|inner| inner.get(kind, namespace, name))
    }

    /// Of one namespace, or of all for an empty one.
    pub(crate) fn list(&self, kind: &Kind, namespace: &str) -> Vec<Object> {
        self.with(|inner| inner.list(kind, namespace))
    }
}

impl Inner {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Object> {
        let namespace = if kind.namespaced { namespace } else { "" };
        self.objects.get(&(kind.plural, namespace.to_owned(), name.to_owned())).cloned()
    }

    pub(crate) fn need(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Object, Failure> {
        self.get(kind, namespace, name).ok_or_else(|| Failure::not_found(kind, name))
    }

    /// Of one namespace, or of all for an empty one.
    pub(crate) fn list(&self, kind: &Kind, namespace: &str) -> Vec<Object> {
        let first = (kind.plural, namespace.to_owned(), String::new());
        self.objects
            .range(first..)
            .take_while(|((plural, of, _), _)| {
                *plural == kind.plural && (namespace.is_empty() || of == namespace)
            })
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Every object of namespaced kinds, with its kind.
    pub(crate) fn everything(&self) -> Vec<(&'static Kind, Object)> {
        self.objects.iter().map(|((plural, _, _), object)| (kinds::of(plural), object.clone())).collect()
    }

    /// The changes after a version; `Expired` when they are not kept any more.
    pub(crate) fn since(&self, version: u64) -> Result<Vec<Change>, Failure> {
        if version < self.oldest {
            return Err(Failure::expired(version, self.oldest));
        }
        let from = self.changes.partition_point(|change| change.version <= version);
        Ok(self.changes.range(from..).cloned().collect())
    }

    /// Forgets all changes: who watches from an older version is told 410.
    pub(crate) fn compact(&mut self) {
        self.changes.clear();
        self.held = 0;
        self.oldest = self.version;
    }

    fn key(kind: &Kind, object: &Value) -> Key {
        let namespace = if kind.namespaced { namespace(object) } else { "" };
        (kinds::of(kind.plural).plural, namespace.to_owned(), name(object).to_owned())
    }

    /// Gives the object the next version, stores it (or takes it away) and tells.
    fn commit(&mut self, kind: &Kind, what: What, mut object: Value) -> Object {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let key = Self::key(kind, &object);
        let object = Arc::new(object);
        let before = match what {
            What::Deleted => self.objects.remove(&key),
            What::Added | What::Modified => self.objects.insert(key, object.clone()),
        };
        self.held += size(&object);
        while self.changes.len() >= CHANGES || self.held > HELD {
            let Some(gone) = self.changes.pop_front() else { break };
            self.oldest = gone.version;
            self.held -= size(&gone.object);
        }
        let change = Change {
            version: self.version,
            kind: kinds::of(kind.plural),
            what,
            object: object.clone(),
            before,
        };
        self.changes.push_back(change);
        object
    }
}

/// The bytes of what an object carries, the only ones that count.
fn size(object: &Value) -> usize {
    let carried = ["data", "binaryData"].iter().filter_map(|key| object.get(*key)?.as_object());
    carried.flat_map(|map| map.values()).filter_map(Value::as_str).map(str::len).sum()
}

#[cfg(test)]
mod tests;
