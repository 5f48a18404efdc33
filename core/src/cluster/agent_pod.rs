//! The pod that an agent runs in, whatever its job: unprivileged, small, with no pull where it can.

mod host;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapProjection, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, KeyToPath, ObjectFieldSelector, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecurityContext,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub(crate) use self::host::Host;
use super::agent_file::{Agent, NODE_ARCH};
use super::names;
use crate::Config;

/// The name of the agent's container.
pub(crate) const CONTAINER: &str = "agent";
/// The agent's control port, on the pod's loopback only.
pub(crate) const CONTROL_PORT: u16 = 47100;
/// The agent's health port, on the pod's addresses.
pub(crate) const HEALTH_PORT: u16 = 47101;

/// The key of the ConfigMap, and the file's name in the pod.
pub(crate) const FILE_KEY: &str = "kubetether-agent";
const FILE_DIR: &str = "/kubetether";
const UNPACK_DIR: &str = "/kubetether-tmp";
/// The key of the other ConfigMap, and that file's name in the pod.
pub(crate) const RESTORER_KEY: &str = "kubetether-restore";
const RESTORER_DIR: &str = "/kubetether-restore";

/// An unprivileged user that no image needs to know.
const USER: i64 = 65532;
/// How long the token in a pod holds; the kubelet renews it in time. The least that Kubernetes takes is 600.
const TOKEN_SECONDS: i64 = 3600;
/// The ConfigMap with the API server's authority, which each namespace has.
const CLUSTER_CA: &str = "kube-root-ca.crt";
/// Seconds a pod may take to end its flows after it was told to go.
const GRACE_SECONDS: i64 = 30;

/// The settings that both ends of a link have to know, as the agent reads them.
pub(crate) fn times(config: &Config) -> [(&'static str, String); 3] {
    // The agent takes no more than a day.
    let millis = |time: Duration| format!("{}ms", time.min(Duration::from_secs(86_400)).as_millis());
    [
        ("KUBETETHER_HEARTBEAT", millis(config.heartbeat)),
        ("KUBETETHER_SILENCE", millis(config.heartbeat_limit)),
        ("KUBETETHER_GRACE", millis(config.grace)),
    ]
}

/// The template of a pod that runs `agent` with these variables and this limit of memory.
pub(crate) fn template(
    agent: &Agent,
    host: &Host,
    labels: BTreeMap<String, String>,
    variables: &[(&str, String)],
    memory: u64,
) -> PodTemplateSpec {
    let (annotations, mesh_labels) = host.injection();
    let labels = labels.into_iter().chain(mesh_labels).collect();
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..Default::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(agent, host, variables, memory)],
            volumes: volumes(agent),
            affinity: host.affinity(),
            node_selector: Some(BTreeMap::from([
                ("kubernetes.io/os".into(), "linux".into()),
                ("kubernetes.io/arch".into(), NODE_ARCH.into()),
            ])),
            tolerations: Some(host.tolerations()),
            image_pull_secrets: host.image_pull_secrets.clone(),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".into(),
                    localhost_profile: None,
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
    }
}

/// Gives the pod what puts its Service back from inside the cluster: that program, carried in the ConfigMap of this
/// name, a token of the ServiceAccount, and what it is to put back. No other agent has any of it.
pub(crate) fn with_restorer(
    template: &mut PodTemplateSpec,
    config_map: &str,
    service_account: &str,
    variables: &[(&str, String)],
) {
    let Some(spec) = template.spec.as_mut() else { return };
    let file = |name: &str, key: &str, path: &str| VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: name.into(),
            items: Some(vec![KeyToPath { key: key.into(), path: path.into(), mode: None }]),
            optional: None,
        }),
        ..Default::default()
    };
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            path: "token".into(),
            expiration_seconds: Some(TOKEN_SECONDS),
            audience: None,
        }),
        ..Default::default()
    };
    let sources =
        vec![file(config_map, RESTORER_KEY, RESTORER_KEY), file(CLUSTER_CA, "ca.crt", "ca.crt"), token];
    // The kubelet makes the token readable by the pod's user alone, whatever this says.
    let projected = ProjectedVolumeSource { sources: Some(sources), default_mode: Some(0o555) };
    let volume = Volume { name: "restore".into(), projected: Some(projected), ..Default::default() };
    spec.volumes.get_or_insert_default().push(volume);
    spec.service_account_name = Some(service_account.to_owned());
    for container in &mut spec.containers {
        container.volume_mounts.get_or_insert_default().push(mount("restore", RESTORER_DIR, true));
        let program = variable("KUBETETHER_RESTORE", format!("{RESTORER_DIR}/{RESTORER_KEY}"));
        let env = container.env.get_or_insert_default();
        env.push(program);
        env.extend(variables.iter().map(|(name, value)| variable(name, value.clone())));
    }
}

fn container(agent: &Agent, host: &Host, variables: &[(&str, String)], memory: u64) -> Container {
    let (image, command) = match agent {
        Agent::Carried { .. } => (host.image.clone(), Some(vec![format!("{FILE_DIR}/{FILE_KEY}")])),
        Agent::Image { image, .. } => (image.clone(), None),
    };
    let mut env = vec![
        from_field("KUBETETHER_POD_IPS", "status.podIPs"),
        variable("KUBETETHER_UNPACK", UNPACK_DIR.into()),
        variable("KUBETETHER_CONTROL", format!("127.0.0.1:{CONTROL_PORT}")),
    ];
    env.extend(variables.iter().map(|(name, value)| variable(name, value.clone())));
    Container {
        name: CONTAINER.into(),
        image: Some(image),
        image_pull_policy: Some("IfNotPresent".into()),
        command,
        env: Some(env),
        readiness_probe: Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some("/".into()),
                port: IntOrString::Int(i32::from(HEALTH_PORT)),
                ..Default::default()
            }),
            period_seconds: Some(1),
            failure_threshold: Some(2),
            ..Default::default()
        }),
        resources: Some(ResourceRequirements {
            requests: Some(quantities("10m", "32Mi")),
            limits: Some(limits(host, memory)),
            ..Default::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            ..Default::default()
        }),
        volume_mounts: mounts(agent),
        ..Default::default()
    }
}

fn limits(host: &Host, memory: u64) -> BTreeMap<String, Quantity> {
    let mut limits = BTreeMap::from([("memory".into(), Quantity(memory.to_string()))]);
    if host.cpu_limit {
        // The agent has one thread, so this does not slow it down.
        limits.insert("cpu".into(), Quantity("1".into()));
    }
    limits
}

fn quantities(cpu: &str, memory: &str) -> BTreeMap<String, Quantity> {
    BTreeMap::from([("cpu".into(), Quantity(cpu.into())), ("memory".into(), Quantity(memory.into()))])
}

fn volumes(agent: &Agent) -> Option<Vec<Volume>> {
    let Agent::Carried { hash, .. } = agent else { return None };
    let file = ConfigMapVolumeSource {
        name: names::agent_config_map(hash),
        // Read and execute for everybody: the user is not the file's owner.
        default_mode: Some(0o555),
        ..Default::default()
    };
    // Where the loader unpacks when the node forbids execution from memory (vm.memfd_noexec=2).
    let unpack = EmptyDirVolumeSource { size_limit: Some(Quantity("16Mi".into())), ..Default::default() };
    Some(vec![
        Volume { name: "file".into(), config_map: Some(file), ..Default::default() },
        Volume { name: "unpack".into(), empty_dir: Some(unpack), ..Default::default() },
    ])
}

fn mounts(agent: &Agent) -> Option<Vec<VolumeMount>> {
    let Agent::Carried { .. } = agent else { return None };
    Some(vec![mount("file", FILE_DIR, true), mount("unpack", UNPACK_DIR, false)])
}

fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(read_only),
        ..Default::default()
    }
}

fn variable(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value), value_from: None }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: path.into(), api_version: None };
    let source = EnvVarSource { field_ref: Some(field), ..Default::default() };
    EnvVar { name: name.into(), value: None, value_from: Some(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_what_pod_security_restricted_asks_for() {
        let mut host = Host::of_image("i");
        host.node = Some("n".into());
        let agent = Agent::Carried { bytes: (*b"\x7fELF").into(), hash: "0123456789".into() };
        let spec = template(&agent, &host, BTreeMap::new(), &[], 64 << 20).spec.unwrap();
        let limits = spec.containers[0].resources.clone().unwrap().limits.unwrap();
        assert_eq!(limits["memory"].0, "67108864");
        let security = spec.containers[0].security_context.as_ref().unwrap();
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.capabilities.as_ref().unwrap().drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(spec.security_context.unwrap().run_as_non_root, Some(true));
        assert_eq!(spec.automount_service_account_token, Some(false));
        assert_eq!(spec.tolerations.unwrap().len(), 2);
    }
}
