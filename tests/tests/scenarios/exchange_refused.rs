//! What cannot be done is refused with the reason, and changes nothing.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{ResourceQuota, Service};
use kube::api::{Api, DeleteParams, PostParams};
use kubetether::{ErrorCode, ExchangeOptions, Session, To};
use kubetether_tests::{App, CLOSE, CLUSTER, LOCAL, LONG, Local, Outcome, eventually, scenario};
use serde_json::json;

#[test]
fn a_service_that_somebody_holds() {
    scenario("held", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let alice = Session::start(at.config().who("alice@her-laptop")).await.good();
        let exchange = alice.exchange("orders", To::port(local.port())).await.good();

        let bob = Session::start(at.config().who("bob@his-laptop")).await.good();
        let refused = bob.exchange("orders", To::port(local.port())).await;
        refused.bad(ErrorCode::Held, &["services/orders", "alice@her-laptop", "since"]);
        let twice = alice.exchange("orders", To::port(local.port())).await;
        twice.bad(ErrorCode::Held, &["orders"]);
        assert_eq!(client.who("http://orders/").await, LOCAL, "alice's is not disturbed");

        exchange.close(CLOSE).await.good();
        let exchange = bob.exchange("orders", To::port(local.port())).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        alice.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL, "alice's leaving disturbs nobody");
        exchange.close(CLOSE).await.good();
        bob.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}

#[test]
fn what_is_not_there() {
    scenario("not-there", async |at| {
        at.baseline().await;
        let no_namespace = Session::start(at.config().namespace("nowhere-at-all")).await;
        no_namespace.bad(ErrorCode::NoSuchNamespace, &["nowhere-at-all", "not found"]);
        let no_context = Session::start(at.config().context("nobody")).await;
        no_context.bad(ErrorCode::NoSuchContext, &["nobody"]);
        let no_file = Session::start(at.config().kubeconfig("/nonexistent/kubeconfig")).await;
        no_file.bad(ErrorCode::Kubeconfig, &["/nonexistent/kubeconfig"]);

        let session = at.session().await;
        let no_service = session.exchange("nope", To::port(1)).await;
        no_service.bad(ErrorCode::NoSuchTarget, &["services/nope", at.namespace().name(), "not found"]);
        session.close(CLOSE).await.good();
    });
}

#[test]
fn services_that_cannot_be_exchanged() {
    scenario("unsupported", async |at| {
        at.shop(&App::orders()).await;
        for (name, spec) in [
            ("free", json!({ "ports": [{ "port": 80 }] })),
            ("outside", json!({ "type": "ExternalName", "externalName": "example.test" })),
            (
                "headless",
                json!({ "clusterIP": "None", "selector": { "app": "orders" }, "ports": [{ "port": 80 }] }),
            ),
            ("deserted", json!({ "selector": { "app": "nobody" }, "ports": [{ "port": 80 }] })),
        ] {
            let service = json!({ "metadata": { "name": name }, "spec": spec });
            at.namespace().create_object::<Service>(&serde_json::from_value(service).unwrap()).await;
        }
        at.baseline().await;
        let session = at.session().await;
        for (name, word) in [
            ("free", "selector"),
            ("outside", "ExternalName"),
            ("headless", "headless"),
            ("deserted", "no pod"),
        ] {
            let refused = session.exchange(name, To::port(8080)).await;
            refused.bad(ErrorCode::Unsupported, &[&format!("services/{name}"), word]);
        }
        let no_port = session.exchange("orders", To::port(8080).for_service_port(443)).await;
        no_port.bad(ErrorCode::NoSuchPort, &["443", "80 (http)"]);
        let no_kind = session.exchange("deploy/orders", To::port(8080)).await;
        no_kind.bad(ErrorCode::Unsupported, &["deploy/orders"]);
        session.close(CLOSE).await.good();
    });
}

#[test]
fn a_quota_that_is_used_up() {
    scenario("quota", async |at| {
        let client = at.shop(&App::orders()).await;
        let quota = json!({ "metadata": { "name": "two-pods" }, "spec": { "hard": { "pods": "2" } } });
        let quotas = at.namespace().api::<ResourceQuota>();
        at.namespace().create_object::<ResourceQuota>(&serde_json::from_value(quota).unwrap()).await;
        eventually("the quota counts", LONG, async || {
            let found = quotas.get("two-pods").await.map_err(|error| error.to_string())?;
            let used = found.status.and_then(|status| status.used).unwrap_or_default();
            if used.get("pods").is_some_and(|pods| pods.0 == "2") { Ok(()) } else { Err(format!("{used:?}")) }
        })
        .await;
        at.baseline().await;
        let session = at.session().await;
        let refused = session.exchange("orders", To::port(8080)).await;
        refused.bad(ErrorCode::AgentStart, &["exceeded quota", "two-pods"]);
        let refused = session.forward("orders:80").await;
        refused.bad(ErrorCode::AgentStart, &["exceeded quota", "two-pods"]);
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        session.close(CLOSE).await.good();
    });
}

/// PodSecurity cannot refuse the agent, which keeps to its strictest level; a policy of the cluster can.
#[test]
fn a_policy_that_refuses_the_agent() {
    scenario("policy", async |at| {
        let client = at.shop(&App::orders()).await;
        let name = at.namespace().name();
        let words = "no foreign agents in this namespace";
        let policy = json!({
            "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } },
                    "resourceRules": [{
                        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
                    }],
                },
                "validations": [{ "expression": "!object.metadata.?labels.orValue({}).exists(key, key == 'kubetether.dev/role')", "message": words }],
            },
        });
        let binding = json!({ "metadata": { "name": name }, "spec": { "policyName": name, "validationActions": ["Deny"] } });
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(at.cluster().client().clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(at.cluster().client().clone());
        policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        let probe = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "probe", "labels": { "kubetether.dev/role": "x" } },
            "spec": { "containers": [{ "name": "x", "image": "x" }] },
        });
        let probe = serde_json::from_value(probe).unwrap();
        let pods = at.namespace().api::<k8s_openapi::api::core::v1::Pod>();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        eventually("the policy is in force", LONG, async || match pods.create(&dry, &probe).await {
            Ok(_) => Err("it lets pods in".to_owned()),
            Err(error) if error.to_string().contains(words) => Ok(()),
            Err(error) => Err(error.to_string()),
        })
        .await;

        let session = at.session().await;
        let refused = session.exchange("orders", To::port(8080)).await;
        let _ = policies.delete(name, &DeleteParams::default()).await;
        let _ = bindings.delete(name, &DeleteParams::default()).await;
        refused.bad(ErrorCode::AgentStart, &[words]);
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        session.close(CLOSE).await.good();
    });
}

#[test]
fn a_deadline_that_is_too_short() {
    scenario("deadline", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        // Cut at every step that this machine takes that long for; a fast one may be done before.
        for milliseconds in [1, 10, 40, 100, 400] {
            let options = ExchangeOptions::new().deadline(std::time::Duration::from_millis(milliseconds));
            match session.exchange_with("orders", To::port(local.port()), options).await {
                Ok(exchange) if milliseconds > 1 => exchange.close(CLOSE).await.good(),
                other => drop(other.bad(ErrorCode::Deadline, &[])),
            }
            assert_eq!(client.who("http://orders/").await, CLUSTER);
        }
        // And nothing of it stands in the way.
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        exchange.close(CLOSE).await.good();
        session.close(CLOSE).await.good();
    });
}
