//! What the API server does to an object before it is stored: defaults, addresses, the checks that clients rely on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::addresses::Use;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::object::{default, list, map, name, number, set_meta, text, uid};
use crate::store::Inner;

/// The most that a ConfigMap or Secret may hold.
const DATA: usize = 1 << 20;
/// The longest name of most kinds, and of those that become labels.
const NAME: usize = 253;
const LABEL: usize = 63;

/// Completes `object`, which is new or replaces `old`.
pub(crate) fn complete(
    store: &mut Inner,
    kind: &Kind,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Failure> {
    check_name(kind, object)?;
    match kind.plural {
        "namespaces" if old.is_none() => namespace(object),
        "services" => service(store, kind, object, old)?,
        "pods" if old.is_none() => {
            pod_spec(&mut object["spec"]);
            object["status"] = json!({ "phase": "Pending", "qosClass": "Burstable" });
            check_pod(kind, object)?;
        }
        "configmaps" | "secrets" => data(kind, object, old)?,
        "deployments" | "replicasets" | "statefulsets" | "daemonsets" => workload(kind, object)?,
        "jobs" => job(object, old),
        _ => {}
    }
    Ok(())
}

fn check_name(kind: &Kind, object: &Value) -> Result<(), Failure> {
    let called = name(object);
    if called.is_empty() {
        return Err(Failure::invalid(
            kind,
            "",
            "metadata.name: Required value: name or generateName is required",
        ));
    }
    // Roles and the like may have almost any name.
    if kind.group == "rbac.authorization.k8s.io" {
        return Ok(());
    }
    let label = matches!(kind.plural, "services" | "namespaces");
    let longest = if label { LABEL } else { NAME };
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let fits = called.len() <= longest
        && called.chars().all(|letter| plain(letter) || letter == '-' || (!label && letter == '.'))
        && called.starts_with(plain)
        && called.ends_with(plain);
    if fits {
        return Ok(());
    }
    let why = format!(
        "metadata.name: Invalid value: \"{called}\": must consist of lower case alphanumeric characters or '-', start and end with an alphanumeric character, and have at most {longest} characters"
    );
    Err(Failure::invalid(kind, called, &why))
}

fn namespace(object: &mut Value) {
    let called = name(object).to_owned();
    map(map_value(object, "metadata"), "labels").insert("kubernetes.io/metadata.name".into(), called.into());
    default(map_value(object, "spec"), "finalizers", json!(["kubernetes"]));
    object["status"] = json!({ "phase": "Active" });
}

/// The object under a key, as a value.
fn map_value<'a>(object: &'a mut Value, key: &str) -> &'a mut Value {
    let _ = map(object, key);
    &mut object[key]
}

fn service(store: &mut Inner, kind: &Kind, object: &mut Value, old: Option<&Value>) -> Result<(), Failure> {
    let called = name(object).to_owned();
    let spec = map_value(object, "spec");
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    let external = text(spec, "/type") == "ExternalName";
    let mut seen = BTreeSet::new();
    let count = list(spec, "/ports").len();
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        default(port, "protocol", "TCP");
        let number = port["port"].clone();
        default(port, "targetPort", number);
        if count > 1 && text(port, "/name").is_empty() {
            return Err(Failure::invalid(kind, &called, "spec.ports[0].name: Required value"));
        }
        if !seen.insert((port["port"].to_string(), text(port, "/protocol").to_owned())) {
            return Err(Failure::invalid(kind, &called, "spec.ports: Duplicate value"));
        }
    }
    if external {
        return Ok(());
    }
    if count == 0 && text(spec, "/clusterIP") != "None" {
        return Err(Failure::invalid(kind, &called, "spec.ports: Required value"));
    }
    default(spec, "ipFamilies", json!(["IPv4"]));
    default(spec, "ipFamilyPolicy", "SingleStack");
    default(spec, "internalTrafficPolicy", "Cluster");
    let before = old.map(|old| text(old, "/spec/clusterIP")).filter(|address| !address.is_empty());
    let asked = text(spec, "/clusterIP").to_owned();
    let address = match (before, asked.as_str()) {
        (Some(before), "") => before.to_owned(),
        (Some(before), asked) if asked == before => before.to_owned(),
        (Some(_), _) => {
            return Err(Failure::invalid(
                kind,
                &called,
                "spec.clusterIPs[0]: Invalid value: may not change once set",
            ));
        }
        (None, "None") => "None".to_owned(),
        (None, "") => match store.addresses.take(Use::Service) {
            Some(address) => address.to_string(),
            None => return Err(Failure::new(500, "InternalError", "failed to allocate IP: range is full")),
        },
        (None, asked) => match store.addresses.take_this(asked) {
            Ok(true) => asked.to_owned(),
            Ok(false) => {
                let why = format!(
                    "spec.clusterIPs: Invalid value: [\"{asked}\"]: failed to allocate IP {asked}: provided IP is already allocated"
                );
                return Err(Failure::invalid(kind, &called, &why));
            }
            Err(range) => {
                let why = format!(
                    "spec.clusterIPs: Invalid value: [\"{asked}\"]: failed to allocate IP {asked}: the provided IP is not in the valid range. The range of valid IPs is {range}"
                );
                return Err(Failure::invalid(kind, &called, &why));
            }
        },
    };
    spec["clusterIPs"] = json!([address]);
    spec["clusterIP"] = address.into();
    default(object, "status", json!({ "loadBalancer": {} }));
    Ok(())
}

fn data(kind: &Kind, object: &mut Value, old: Option<&Value>) -> Result<(), Failure> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    if let Some(texts) = object.get_mut("stringData").map(Value::take) {
        for (key, value) in texts.as_object().into_iter().flatten() {
            let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
            map(object, "data").insert(key.clone(), encoded.into());
        }
        if let Some(map) = object.as_object_mut() {
            map.remove("stringData");
        }
    }
    let mut size = 0;
    for key in ["data", "binaryData"] {
        let binary = key == "binaryData" || kind.plural == "secrets";
        for (_, value) in object.get(key).and_then(Value::as_object).into_iter().flatten() {
            let length = value.as_str().map_or(0, str::len);
            size += if binary { length / 4 * 3 } else { length };
        }
    }
    if size > DATA {
        return Err(Failure::invalid(kind, name(object), "[]: Too long: must have at most 1048576 bytes"));
    }
    let frozen = old.filter(|old| old["immutable"] == true);
    let same =
        |old: &Value| ["data", "binaryData", "immutable"].iter().all(|key| old.get(*key) == object.get(*key));
    match frozen {
        Some(old) if !same(old) => {
            let why = "data: Forbidden: field is immutable when `immutable` is set";
            Err(Failure::invalid(kind, name(object), why))
        }
        _ => Ok(()),
    }
}

fn workload(kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    let spec = map_value(object, "spec");
    if kind.plural != "daemonsets" {
        default(spec, "replicas", 1);
    }
    match kind.plural {
        "deployments" => {
            default(spec, "strategy", json!({ "type": "RollingUpdate" }));
            default(&mut spec["strategy"], "type", "RollingUpdate");
            if text(spec, "/strategy/type") == "RollingUpdate" {
                let rolling = map_value(&mut spec["strategy"], "rollingUpdate");
                default(rolling, "maxSurge", "25%");
                default(rolling, "maxUnavailable", "25%");
            }
            default(spec, "revisionHistoryLimit", 10);
            default(spec, "progressDeadlineSeconds", 600);
        }
        "statefulsets" => {
            default(spec, "podManagementPolicy", "OrderedReady");
            default(spec, "serviceName", "");
            default(spec, "updateStrategy", json!({ "type": "RollingUpdate" }));
        }
        _ => {}
    }
    pod_spec(&mut spec["template"]["spec"]);
    let (selector, template) = (spec["selector"].clone(), spec["template"].clone());
    if !crate::select::label_selector_matches(&selector, &template) {
        let why = "spec.template.metadata.labels: Invalid value: `selector` does not match template `labels`";
        return Err(Failure::invalid(kind, name(object), why));
    }
    Ok(())
}

fn job(object: &mut Value, old: Option<&Value>) {
    let (called, id) = (name(object).to_owned(), uid(object).to_owned());
    let spec = map_value(object, "spec");
    default(spec, "parallelism", 1);
    default(spec, "completions", 1);
    default(spec, "backoffLimit", 6);
    default(spec, "suspend", false);
    default(spec, "completionMode", "NonIndexed");
    pod_spec(&mut spec["template"]["spec"]);
    if old.is_some() || spec["manualSelector"] == true {
        return;
    }
    let own = json!({ "batch.kubernetes.io/controller-uid": id });
    spec["selector"] = json!({ "matchLabels": own });
    let labels = map(map_value(&mut spec["template"], "metadata"), "labels");
    for prefix in ["", "batch.kubernetes.io/"] {
        labels.insert(format!("{prefix}controller-uid"), id.clone().into());
        labels.insert(format!("{prefix}job-name"), called.clone().into());
    }
}

fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        *spec = json!({});
    }
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    for key in ["containers", "initContainers"] {
        for container in spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            let latest = {
                let image = text(container, "/image");
                image.ends_with(":latest") || !image.rsplit('/').next().unwrap_or_default().contains(':')
            };
            default(container, "imagePullPolicy", if latest { "Always" } else { "IfNotPresent" });
            default(container, "resources", json!({}));
            default(container, "terminationMessagePath", "/dev/termination-log");
            default(container, "terminationMessagePolicy", "File");
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                default(port, "protocol", "TCP");
            }
            for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
                if let Some(probe) = container.get_mut(probe).filter(|probe| probe.is_object()) {
                    default(probe, "timeoutSeconds", 1);
                    default(probe, "periodSeconds", 10);
                    default(probe, "successThreshold", 1);
                    default(probe, "failureThreshold", 3);
                    if let Some(get) = probe.get_mut("httpGet") {
                        default(get, "path", "/");
                        default(get, "scheme", "HTTP");
                    }
                }
            }
        }
    }
}

fn check_pod(kind: &Kind, object: &mut Value) -> Result<(), Failure> {
    default(&mut object["spec"], "serviceAccountName", "default");
    default(&mut object["spec"], "enableServiceLinks", true);
    let containers = list(object, "/spec/containers");
    if containers.is_empty() {
        return Err(Failure::invalid(kind, name(object), "spec.containers: Required value"));
    }
    for (at, container) in containers.iter().enumerate() {
        for field in ["name", "image"] {
            if text(container, &format!("/{field}")).is_empty() {
                let why = format!("spec.containers[{at}].{field}: Required value");
                return Err(Failure::invalid(kind, name(object), &why));
            }
        }
    }
    // As the default admission does.
    let tolerations = list(object, "/spec/tolerations").to_vec();
    let mut all = tolerations.clone();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !tolerations.iter().any(|one| text(one, "/key") == key) {
            all.push(
                json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }),
            );
        }
    }
    object["spec"]["tolerations"] = all.into();
    if number(object, "/metadata/generation").is_none() {
        set_meta(object, "generation", 1);
    }
    Ok(())
}
