//! Label and field selectors.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::failure::Failure;
use crate::object::{list, text, texts};

/// What a list or watch asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, String, bool)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    Missing,
}

impl Selector {
    pub(crate) fn parse(labels: &str, fields: &str) -> Result<Self, Failure> {
        let labels = split(labels).map(requirement).collect::<Result<_, _>>()?;
        let fields = fields.split(',').filter(|one| !one.is_empty()).map(field).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = texts(object, "/metadata/labels");
        self.labels.iter().all(|one| one.holds(&labels))
            && self.fields.iter().all(|(path, value, equal)| (field_of(object, path) == *value) == *equal)
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let among = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => among,
            Operator::NotIn => !among,
            Operator::Exists => value.is_some(),
            Operator::Missing => value.is_none(),
        }
    }
}

/// Whether a Service's selector (a plain map, not empty) matches these labels.
pub(crate) fn map_matches(selector: &BTreeMap<String, String>, object: &Value) -> bool {
    let labels = texts(object, "/metadata/labels");
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether a `LabelSelector` of a workload matches.
pub(crate) fn label_selector_matches(selector: &Value, object: &Value) -> bool {
    let labels = texts(object, "/metadata/labels");
    let plain =
        texts(selector, "/matchLabels").into_iter().all(|(key, value)| labels.get(&key) == Some(&value));
    let written = list(selector, "/matchExpressions").iter().all(|one| {
        let operator = match text(one, "/operator") {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            _ => Operator::Missing,
        };
        let values = list(one, "/values").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Requirement { key: text(one, "/key").to_owned(), operator, values }.holds(&labels)
    });
    plain && written
}

/// The requirements of a text: commas within parentheses do not end one.
fn split(labels: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    labels
        .split(move |letter| {
            match letter {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            letter == ',' && depth == 0
        })
        .map(str::trim)
        .filter(|one| !one.is_empty())
}

fn requirement(one: &str) -> Result<Requirement, Failure> {
    let new = |key: &str, operator, values: Vec<String>| Requirement {
        key: key.trim().to_owned(),
        operator,
        values,
    };
    let set = |rest: &str| -> Option<Vec<String>> {
        let inner = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let bad = || Failure::bad_request(format!("unable to parse requirement: {one:?}"));
    if let Some((key, rest)) = one.split_once(" notin ") {
        return Ok(new(key, Operator::NotIn, set(rest).ok_or_else(bad)?));
    }
    if let Some((key, rest)) = one.split_once(" in ") {
        return Ok(new(key, Operator::In, set(rest).ok_or_else(bad)?));
    }
    if let Some((key, value)) = one.split_once("!=") {
        return Ok(new(key, Operator::NotIn, vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = one.split_once('=') {
        return Ok(new(key, Operator::In, vec![value.trim_start_matches('=').trim().to_owned()]));
    }
    if let Some(key) = one.strip_prefix('!') {
        return Ok(new(key, Operator::Missing, Vec::new()));
    }
    if one.contains(['(', ')', ' ']) { Err(bad()) } else { Ok(new(one, Operator::Exists, Vec::new())) }
}

fn field(one: &str) -> Result<(String, String, bool), Failure> {
    let (path, value, equal) = if let Some((path, value)) = one.split_once("!=") {
        (path, value, false)
    } else if let Some((path, value)) = one.split_once('=') {
        (path, value.trim_start_matches('='), true)
    } else {
        return Err(Failure::bad_request(format!("invalid field selector: {one:?}")));
    };
    Ok((path.trim().to_owned(), value.trim().to_owned(), equal))
}

/// Any field by its path; real clusters know a few of each kind.
fn field_of(object: &Value, path: &str) -> String {
    let pointer = format!("/{}", path.replace('.', "/"));
    match object.pointer(&pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Number(value)) => value.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_selected_as_the_api_reads_them() {
        let object = json!({ "metadata": { "labels": { "app": "a", "tier": "x" } } });
        let matches = |text: &str| Selector::parse(text, "").unwrap().matches(&object);
        for yes in [
            "",
            "app=a",
            "app==a,tier=x",
            "app in (a, b)",
            "app",
            "!no",
            "app!=b",
            "no!=b",
            "tier notin (y,z),app",
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in ["app=b", "app notin (a)", "!app", "no", "no in (a)", "app!=a"] {
            assert!(!matches(no), "{no}");
        }
        assert!(Selector::parse("app in a", "").is_err());
    }

    #[test]
    fn fields_are_paths() {
        let object = json!({ "metadata": { "name": "p" }, "spec": { "nodeName": "n" }, "type": "Warning" });
        let matches = |text: &str| Selector::parse("", text).unwrap().matches(&object);
        assert!(matches("metadata.name=p,spec.nodeName==n,type!=Normal,status.phase="));
        assert!(!matches("metadata.name=q"));
    }
}
