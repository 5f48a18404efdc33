use super::*;

const LEASE: &str = "kubetether-1a2b3c4d";

fn service(selector: Value, ports: Value, holder: &str) -> Value {
    let note = json!({
        "v": 1,
        "original": { "selector": { "app": "orders", "tier": "web" }, "targetPorts": { "80/TCP": "web", "53/UDP": 5353 }, "new": 1 },
        "holders": [{ "lease": holder, "mode": "exchange", "ports": [80], "rules": [], "interceptor": "kt-orders-0123456789" }],
        "later": true,
    });
    json!({
        "metadata": {
            "name": "orders", "uid": "u1", "resourceVersion": "7",
            "annotations": { NOTE: note.to_string(), "theirs": "stays" },
        },
        "spec": { "selector": selector, "ports": ports },
    })
}

fn taken() -> Value {
    service(
        json!({ "app": "kt-0123456789", "tier": "kt-0123456789" }),
        json!([{ "port": 80, "targetPort": 47200 }, { "port": 53, "protocol": "UDP", "targetPort": 47201 }]),
        LEASE,
    )
}

/// Only the changes.
fn changes(live: &Value) -> Value {
    let all = put_back(live, LEASE).unwrap().unwrap();
    assert_eq!(all[0], json!({ "op": "test", "path": "/metadata/uid", "value": "u1" }));
    assert_eq!(all[1], json!({ "op": "test", "path": "/metadata/resourceVersion", "value": "7" }));
    all[2..].to_vec().into()
}

const ANNOTATION: &str = "/metadata/annotations/kubetether.dev~1exchange";

#[test]
fn everything_of_ours_is_put_back() {
    let expected = json!([
        { "op": "replace", "path": "/spec/selector", "value": { "app": "orders", "tier": "web" } },
        { "op": "add", "path": "/spec/ports/0/targetPort", "value": "web" },
        { "op": "add", "path": "/spec/ports/1/targetPort", "value": 5353 },
        { "op": "remove", "path": ANNOTATION },
    ]);
    assert_eq!(changes(&taken()), expected);
}

#[test]
fn what_somebody_else_wrote_stays() {
    let live = service(
        json!({ "app": "theirs", "tier": "kt-0123456789", "new": "kt-0123456789" }),
        json!([{ "port": 81, "targetPort": 47200 }, { "port": 53, "protocol": "UDP", "targetPort": 9953 }]),
        LEASE,
    );
    let expected = json!([
        { "op": "replace", "path": "/spec/selector", "value": { "app": "theirs", "tier": "web" } },
        { "op": "add", "path": "/spec/ports/0/targetPort", "value": "web" },
        { "op": "remove", "path": ANNOTATION },
    ]);
    assert_eq!(changes(&live), expected);
}

/// Both who put a Service back go by these.
#[test]
fn the_table_that_is_shared_with_the_engine() {
    let table: Value = serde_json::from_str(include_str!("../../../../put-back.json")).unwrap();
    for case in table["cases"].as_array().unwrap() {
        let mut live = service(case["selector"].clone(), case["ports"].clone(), LEASE);
        let note = json!({ "v": 1, "original": table["original"], "holders": [{ "lease": LEASE, "mode": "exchange" }] });
        live["metadata"]["annotations"][NOTE] = note.to_string().into();
        let mut expected = case["changes"].clone();
        expected.as_array_mut().unwrap().push(json!({ "op": "remove", "path": ANNOTATION }));
        assert_eq!(changes(&live), expected, "{}", case["what"]);
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let mut live = taken();
    assert_eq!(put_back(&live, "kubetether-other").unwrap(), None);
    live["metadata"]["annotations"] = Value::Null;
    assert!(put_back(&live, LEASE).is_err(), "it leads to an interceptor, and nobody knows what was there");
    live["spec"]["selector"] = json!({ "app": "orders" });
    assert_eq!(put_back(&live, LEASE).unwrap(), None);
}

#[test]
fn a_note_that_cannot_be_understood_is_not_guessed() {
    let mut live = taken();
    for note in ["{", "{}", r#"{"v":2}"#, r#"{"v":"1"}"#] {
        live["metadata"]["annotations"][NOTE] = note.into();
        assert!(put_back(&live, LEASE).is_err(), "{note}");
    }
}

#[test]
fn the_record_of_writers_is_left_without_us() {
    let live = |managers: &[&str]| {
        let fields: Vec<Value> = managers.iter().map(|manager| json!({ "manager": manager })).collect();
        json!({ "metadata": { "uid": "u1", "resourceVersion": "8", "managedFields": fields } })
    };
    assert_eq!(without_us(&live(&["helm"])), None);
    let paths =
        |operations: Vec<Value>| operations[2..].iter().map(|one| one["path"].clone()).collect::<Vec<_>>();
    let between = without_us(&live(&["kubetether", "helm", "kubetether"])).unwrap();
    assert_eq!(paths(between), ["/metadata/managedFields/2", "/metadata/managedFields/0"]);
    assert_eq!(without_us(&live(&["kubetether"])).unwrap()[2]["value"], json!([{}]));
}
