//! The built command.

use kubetether_tests::{App, CLUSTER, Client, Closed, Command, LOCAL, Local, scenario, sweep};
use serde_json::{Value, json};

fn kinds(told: &[Value]) -> Vec<&str> {
    told.iter().filter_map(|line| line["type"].as_str()).collect()
}

#[test]
fn an_exchange_until_ctrl_c() {
    Command::prepare();
    scenario("cli-exchange", async |at| {
        let client = at.shop(&App::orders().port("admin", 81, 8080)).await;
        let local = Local::http();
        let to = format!("{}:http", local.port());
        let mut command = Command::start(at, &["exchange", "orders", "--to", &to]);
        let result = command.told("exchange").await;
        assert_eq!(result["target"], "svc/orders");
        assert_eq!(result["ports"][0]["service_port"], 80);
        assert_eq!(result["passed_through"][0], 81);
        assert_eq!(client.who("http://orders/").await, LOCAL);
        command.signal("INT").await;
        let ended = command.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(kinds(&ended.told).last(), Some(&"restored"));
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}

#[test]
fn forwards_until_it_is_asked_to_end() {
    Command::prepare();
    scenario("cli-forward", async |at| {
        at.shop(&App::orders()).await;
        let port = Closed::new().release();
        let args = ["forward", "orders:80", "deploy/orders:8080", "--port", &port.to_string()];
        let mut command = Command::start(at, &args);
        let first = command.told("forward").await;
        assert_eq!(first["address"], format!("127.0.0.1:{port}"));
        let second = command.told("forward").await;
        for line in [first, second] {
            let url = format!("http://{}/", line["address"].as_str().unwrap());
            assert_eq!(Client::here().who(&url).await, CLUSTER);
        }
        command.signal("TERM").await;
        let ended = command.ended().await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    });
}

#[test]
fn exit_codes_tell_the_class_of_a_failure() {
    Command::prepare();
    scenario("cli-codes", async |at| {
        at.shop(&App::orders()).await;
        let closed = Closed::new();
        let nowhere = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{ "name": "x", "cluster": { "server": format!("http://127.0.0.1:{}", closed.port()) } }],
            "contexts": [{ "name": "x", "context": { "cluster": "x", "user": "x" } }],
            "users": [{ "name": "x", "user": {} }],
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        std::fs::write(&file, nowhere.to_string()).unwrap();
        let file = file.to_str().unwrap();
        for (args, code, name) in [
            (vec!["exchange", "nope", "--to", "8080"], 4, "no_such_target"),
            (vec!["exchange", "orders", "--to", "8080:443"], 4, "no_such_port"),
            (vec!["--context", "nobody", "exchange", "orders", "--to", "8080"], 2, "no_such_context"),
            (vec!["forward", "orders:81"], 4, "refused"),
        ] {
            let ended = Command::start(at, &args).ended().await;
            assert_eq!(ended.code, Some(code), "{args:?}: {ended:#?}");
            let errors: Vec<&Value> = ended.told.iter().filter(|line| line["type"] == "error").collect();
            assert_eq!(errors.len(), 1, "{args:?}: {ended:#?}");
            assert_eq!(errors[0]["code"], name, "{args:?}");
        }
        let ended = Command::start_with(file, &["forward", "orders:80"]).ended().await;
        assert_eq!(ended.code, Some(3), "{ended:#?}");
        let ended = Command::start(at, &["exchange", "orders"]).ended().await;
        assert_eq!(ended.code, Some(2), "{ended:#?}");
        assert!(ended.errors.contains("--to"), "{ended:#?}");
    });
}

#[test]
fn ctrl_c_while_it_starts() {
    Command::prepare();
    scenario("cli-cancel", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let port = local.port().to_string();
        let mut command = Command::start(at, &["exchange", "orders", "--to", &port]);
        let mut step = command.told("progress").await;
        // It takes as long as a pod does to start.
        while step["step"] != 2 {
            step = command.told("progress").await;
        }
        command.signal("INT").await;
        let ended = command.ended().await;
        assert_eq!(ended.code, Some(6), "{ended:#?}");
        assert!(kinds(&ended.told).contains(&"restored"), "{ended:#?}");
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_tells_what_is_left() {
    Command::prepare();
    scenario("cli-abandon", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let mut command = Command::start(at, &["exchange", "orders", "--to", &local.port().to_string()]);
        command.told("exchange").await;
        // A connection that is open keeps the close waiting.
        let mut talk = client.open("orders:80").await;
        assert!(talk.step("get:/").await.contains("name=local"));
        command.signal("INT").await;
        command.told("closing").await;
        // Two within a moment count as one: wrappers hand on what the terminal has sent to all.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        command.signal("INT").await;
        let ended = command.ended().await;
        assert_eq!(ended.code, Some(130), "{ended:#?}");
        let left = ended.told.iter().find(|line| line["type"] == "abandoned");
        let left = left.unwrap_or_else(|| panic!("it does not tell what is left: {ended:#?}")).to_string();
        assert!(left.contains("svc/orders") && left.contains(at.namespace().name()), "{left}");
        // Else its interceptor would wait for the client to come back.
        assert_eq!(talk.step("reset").await, "aborted");
        sweep(at).await;
    });
}
