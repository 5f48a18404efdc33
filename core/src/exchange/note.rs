//! The annotation on an exchanged Service: what it was, and who holds it.
//!
//! Written in the same request that changes the Service, so whoever finds it can put the Service
//! back, with or without its holder.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cluster::names;
use crate::{Error, ErrorCode, Result};

/// The version of the format that is written; readers keep fields they do not know.
const VERSION: u32 = 1;

/// The annotation's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) v: u32,
    pub(crate) original: Original,
    pub(crate) holders: Vec<Holder>,
    /// Of later versions.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

/// What the Service's changed fields were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Original {
    pub(crate) selector: BTreeMap<String, String>,
    /// Target ports by `number/PROTOCOL`.
    #[serde(rename = "targetPorts")]
    pub(crate) target_ports: BTreeMap<String, IntOrString>,
    /// Of later versions.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

/// One session that holds the Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The name of its Lease.
    pub(crate) lease: String,
    /// `exchange`; later versions know more.
    pub(crate) mode: String,
    /// The Service's ports that go to it.
    pub(crate) ports: Vec<u16>,
    /// What a mesh matches; an exchange has none.
    #[serde(default)]
    pub(crate) rules: Vec<Value>,
    /// The Deployment that receives the traffic.
    pub(crate) interceptor: String,
    /// Since when, RFC 3339, by the holder's clock. For people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// Of later versions.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

impl Note {
    pub(crate) fn exchange(original: Original, lease: String, ports: Vec<u16>, interceptor: String) -> Self {
        let holder = Holder {
            lease,
            mode: "exchange".into(),
            ports,
            rules: Vec::new(),
            interceptor,
            since: None,
            other: Map::new(),
        };
        Self { v: VERSION, original, holders: vec![holder], other: Map::new() }
    }

    /// With the time from which on its holders hold the Service.
    pub(crate) fn since(mut self, time: &str) -> Self {
        for holder in &mut self.holders {
            holder.since = Some(time.to_owned());
        }
        self
    }

    /// The note on a Service, if it carries one.
    pub(crate) fn of(service: &Service) -> Result<Option<Self>> {
        let Some(text) = service.metadata.annotations.as_ref().and_then(|all| all.get(names::EXCHANGE))
        else {
            return Ok(None);
        };
        let name = service.metadata.name.as_deref().unwrap_or_default();
        if Self::is_later(service) {
            let message = format!("services/{name} is held by a later version of kubetether");
            let error = Error::new(ErrorCode::Unsupported, message).on(format!("services/{name}"));
            return Err(error.try_this("update this kubetether"));
        }
        let note: Self = serde_json::from_str(text).map_err(|error| {
            Error::new(
                ErrorCode::Unsupported,
                format!("the annotation {} of services/{name} cannot be read", names::EXCHANGE),
            )
            .on(format!("services/{name}"))
            .because(error)
            .try_this("put the Service back by hand (selector and targetPort), then remove the annotation")
        })?;
        Ok(Some(note))
    }

    /// Whether a later version wrote the note on a Service, in a form that is not known here.
    pub(crate) fn is_later(service: &Service) -> bool {
        let text = service.metadata.annotations.as_ref().and_then(|all| all.get(names::EXCHANGE));
        let note = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        note.and_then(|note| note["v"].as_u64()).is_some_and(|v| v > u64::from(VERSION))
    }

    pub(crate) fn is_held_by(&self, lease: &str) -> bool {
        self.holders.iter().any(|holder| holder.lease == lease)
    }

    pub(crate) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| {
            Error::new(ErrorCode::Internal, "the annotation cannot be written").because(error)
        })
    }
}

/// The key of a port in [`Original::target_ports`].
pub(crate) fn port_key(number: i32, protocol: Option<&str>) -> String {
    format!("{number}/{}", protocol.unwrap_or("TCP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: what clients of this version write. Never edited, only added to.
    #[test]
    fn golden_version_1() {
        let text = r#"{"v":1,"original":{"selector":{"app":"orders"},"targetPorts":{"53/UDP":"dns","80/TCP":8080}},"holders":[{"lease":"kubetether-1a2b3c4d","mode":"exchange","ports":[80],"rules":[],"interceptor":"kt-orders-0123456789"}]}"#;
        let original = Original {
            selector: BTreeMap::from([("app".into(), "orders".into())]),
            target_ports: BTreeMap::from([
                ("80/TCP".into(), IntOrString::Int(8080)),
                ("53/UDP".into(), IntOrString::String("dns".into())),
            ]),
            other: Map::new(),
        };
        let note =
            Note::exchange(original, "kubetether-1a2b3c4d".into(), vec![80], "kt-orders-0123456789".into());
        assert_eq!(note.to_text().unwrap(), text);
        assert_eq!(serde_json::from_str::<Note>(text).unwrap(), note);
    }

    /// Golden: since when it is held was added later.
    #[test]
    fn golden_version_1_with_since() {
        let text = r#"{"v":1,"original":{"selector":{"app":"orders"},"targetPorts":{"80/TCP":8080}},"holders":[{"lease":"kubetether-1a2b3c4d","mode":"exchange","ports":[80],"rules":[],"interceptor":"kt-orders-0123456789","since":"2026-01-02T03:04:05Z"}]}"#;
        let note: Note = serde_json::from_str(text).unwrap();
        assert_eq!(note.holders[0].since.as_deref(), Some("2026-01-02T03:04:05Z"));
        assert_eq!(note.to_text().unwrap(), text);
    }

    #[test]
    fn what_later_versions_add_survives() {
        for text in [
            r#"{"v":1,"original":{"selector":{},"targetPorts":{},"more":{}},"holders":[],"new":1}"#,
            r#"{"v":9,"original":{"selector":{},"targetPorts":{}},"holders":[{"lease":"l","mode":"mesh","ports":[],"rules":[{"header":"x"}],"interceptor":"i","weight":7}],"a":null,"b":[{}]}"#,
        ] {
            let note: Note = serde_json::from_str(text).unwrap();
            assert_eq!(note.to_text().unwrap(), text);
        }
    }

    #[test]
    fn what_a_later_version_wrote_is_not_touched() {
        let mut service = Service::default();
        let text = r#"{"v":2,"original":{"selector":{},"targetPorts":{}},"holders":[]}"#;
        service.metadata.annotations = Some([(names::EXCHANGE.to_owned(), text.to_owned())].into());
        let error = Note::of(&service).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unsupported);
        assert!(error.report().contains("update"), "{}", error.report());
    }
}
