//! Pods as processes.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, LogParams};

use crate::support::{SHELL, client, eventually, is_ready, script, sim, soon, until, until_gone};

#[tokio::test]
async fn a_pod_runs_to_its_end_and_its_log_stays() {
    let sim = sim().await;
    sim.apply(&script("once", "echo to $0 $HOSTNAME; echo err >&2", "Never")).unwrap();
    until(&sim, "pods", "once", |pod| pod["status"]["phase"] == "Succeeded").await;
    let pods: Api<Pod> = Api::default_namespaced(client(&sim).await);
    let text = eventually("both lines", async || {
        let text = pods.logs("once", &LogParams::default()).await.unwrap();
        (text.lines().count() == 2).then_some(text)
    })
    .await;
    assert!(text.contains(" once\n") && text.contains("err\n"), "{text:?}");
    sim.stop().await;
}

#[tokio::test]
async fn a_container_that_fails_is_started_again_then_backed_off() {
    let sim = sim().await;
    sim.apply(&script("fails", "exit 3", "Always")).unwrap();
    until(&sim, "pods", "fails", |pod| {
        let one = &pod["status"]["containerStatuses"][0];
        one["restartCount"].as_u64() >= Some(2)
            && one["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            && one["lastState"]["terminated"]["exitCode"] == 3
    })
    .await;
    sim.stop().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_told_and_waited_for() {
    let sim = sim().await;
    sim.break_image(SHELL, Some("toomanyrequests"));
    sim.apply(&script("late", "sleep 1000", "Always")).unwrap();
    until(&sim, "pods", "late", |pod| {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        waiting["reason"] == "ImagePullBackOff"
            && waiting["message"].as_str().is_some_and(|text| text.contains("toomanyrequests"))
    })
    .await;
    let events = sim.objects("events", "default");
    assert!(events.iter().any(|one| one["type"] == "Warning" && one["involvedObject"]["name"] == "late"));
    sim.break_image(SHELL, None);
    until(&sim, "pods", "late", is_ready).await;
    sim.stop().await;
}

#[tokio::test]
async fn a_pod_that_is_deleted_is_asked_first_and_killed_after_its_grace() {
    let sim = sim().await;
    let polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done";
    let deaf = "trap '' TERM; echo up; while :; do sleep 0.01; done";
    for (called, text) in [("polite", polite), ("deaf", deaf)] {
        sim.apply(&script(called, text, "Always")).unwrap();
    }
    let pods: Api<Pod> = Api::default_namespaced(client(&sim).await);
    for called in ["polite", "deaf"] {
        eventually("the trap", async || {
            let text = pods.logs(called, &LogParams::default()).await.unwrap_or_default();
            text.contains("up").then_some(())
        })
        .await;
        let grace = DeleteParams { grace_period_seconds: Some(1), ..DeleteParams::default() };
        pods.delete(called, &grace).await.unwrap();
        until_gone(&sim, "pods", called).await;
    }
    sim.stop().await;
}

#[tokio::test]
async fn volumes_are_where_the_container_looks_and_fields_are_told() {
    let sim = sim().await;
    let manifest = format!(
        r#"
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{colour: blue}}
---
apiVersion: v1
kind: Pod
metadata: {{name: reads}}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: {SHELL}
    env:
    - {{name: FILE, value: /etc/app/colour}}
    - {{name: LISTEN, value: "127.0.0.1:80"}}
    - {{name: IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
    args: ["-c", "test $(cat $FILE) = blue && test $(cat /etc/app/colour) = blue && test $LISTEN = $IP:80 && echo x >/scratch/y"]
    volumeMounts: [{{name: settings, mountPath: /etc/app}}, {{name: scratch, mountPath: /scratch}}]
  volumes: [{{name: settings, configMap: {{name: settings}}}}, {{name: scratch, emptyDir: {{}}}}]
"#
    );
    sim.apply(&manifest).unwrap();
    until(&sim, "pods", "reads", |pod| {
        matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
    })
    .await;
    let pod = sim.object("pods", "default", "reads").unwrap();
    assert_eq!(pod["status"]["phase"], "Succeeded", "{}", pod["status"]);
    sim.stop().await;
}

#[tokio::test]
async fn commands_are_run_beside_a_container() {
    let sim = sim().await;
    sim.apply(&script("idle", "while :; do sleep 1; done", "Always")).unwrap();
    until(&sim, "pods", "idle", is_ready).await;
    let ended = sim.exec("default", "idle", &["/sh", "-c", "echo out; echo err >&2; exit 4"]);
    let ended = soon("the command", ended).await.unwrap();
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(4), "out\n", "err\n"));
    sim.stop().await;
}
