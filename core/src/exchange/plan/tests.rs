use super::*;

const LEASE: &str = "kubetether-1a2b3c4d";
const VALUE: &str = "kt-0123456789";

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({
        "metadata": { "name": "orders", "uid": "u1", "resourceVersion": "7" },
        "spec": spec,
    }))
    .unwrap()
}

fn two_ports() -> Service {
    service(json!({
        "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
        "selector": { "app": "orders", "tier": "web" },
        "ports": [
            { "name": "http", "port": 80, "protocol": "TCP", "targetPort": "web" },
            { "name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353 },
        ],
    }))
}

fn plan(service: &Service) -> Plan {
    Plan::new(service, VALUE.into(), &To::port(8080), None).unwrap()
}

fn note(plan: &Plan) -> Note {
    Note::exchange(plan.original.clone(), LEASE.into(), plan.exposed(), "kt-orders-0123456789".into())
}

fn apply(service: &Service, operations: &Value) -> Service {
    let mut document = serde_json::to_value(service).unwrap();
    let patch: json_patch::Patch = serde_json::from_value(operations.clone()).unwrap();
    json_patch::patch(&mut document, &patch).unwrap();
    serde_json::from_value(document).unwrap()
}

#[test]
fn taken_and_put_back_it_is_what_it_was() {
    let before = two_ports();
    let plan = plan(&before);
    assert_eq!(plan.exposed(), [80]);
    let taken = apply(&before, &plan.take(&before, &note(&plan)).unwrap());
    let spec = taken.spec.as_ref().unwrap();
    assert!(spec.selector.as_ref().unwrap().values().all(|value| value == VALUE));
    assert_eq!(spec.selector.as_ref().unwrap().len(), 2);
    assert_eq!(spec.ports.as_ref().unwrap()[1].target_port, Some(IntOrString::Int(47201)));
    assert_eq!(plan.look(&taken, LEASE), Look::Ours);

    let mut after = apply(&taken, &plan.restore(&taken).unwrap());
    assert_eq!(after.metadata.annotations.take(), Some(BTreeMap::new()));
    assert_eq!(after, before);
}

#[test]
fn the_patch_fails_when_the_service_changed_meanwhile() {
    let before = two_ports();
    let plan = plan(&before);
    let operations = plan.take(&before, &note(&plan)).unwrap();
    let mut changed = before;
    changed.metadata.resource_version = Some("8".into());
    let mut document = serde_json::to_value(&changed).unwrap();
    let patch: json_patch::Patch = serde_json::from_value(operations).unwrap();
    assert!(json_patch::patch(&mut document, &patch).is_err());
}

#[test]
fn somebody_elses_selector_becomes_the_original() {
    let before = two_ports();
    let plan = plan(&before);
    let mut edited = apply(&before, &plan.take(&before, &note(&plan)).unwrap());
    let theirs: BTreeMap<String, String> =
        [("app", "orders-v2"), ("tier", "web")].map(|(key, value)| (key.into(), value.into())).into();
    edited.spec.as_mut().unwrap().selector = Some(theirs.clone());
    let Look::Drifted(next) = plan.look(&edited, LEASE) else { panic!("not seen") };
    assert_eq!(next.original.selector, theirs);
    // Closing right now must leave their value alone.
    let closed = apply(&edited, &plan.restore(&edited).unwrap());
    assert_eq!(closed.spec.unwrap().selector, Some(theirs));
}

#[test]
fn a_key_that_was_added_is_another_shape_and_stays_when_it_is_put_back() {
    let before = two_ports();
    let plan = plan(&before);
    let mut edited = apply(&before, &plan.take(&before, &note(&plan)).unwrap());
    edited.spec.as_mut().unwrap().selector.as_mut().unwrap().insert("zone".into(), "b".into());
    assert!(matches!(plan.look(&edited, LEASE), Look::Reshaped(what) if what.contains("zone")));
    let expected: BTreeMap<String, String> =
        [("app", "orders"), ("tier", "web"), ("zone", "b")].map(|(k, v)| (k.into(), v.into())).into();
    assert_eq!(apply(&edited, &plan.restore(&edited).unwrap()).spec.unwrap().selector, Some(expected));
}

#[test]
fn a_port_that_was_renumbered_does_not_keep_our_target() {
    let before = two_ports();
    let plan = plan(&before);
    let mut edited = apply(&before, &plan.take(&before, &note(&plan)).unwrap());
    edited.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].port = 8080;
    assert!(matches!(plan.look(&edited, LEASE), Look::Reshaped(_)));
    let ports = apply(&edited, &plan.restore(&edited).unwrap()).spec.unwrap().ports.unwrap();
    assert_eq!(ports[0].target_port, Some(IntOrString::String("web".into())));
}

#[test]
fn values_of_another_kubetether_are_never_originals() {
    let before = two_ports();
    let plan = plan(&before);
    let mut edited = apply(&before, &plan.take(&before, &note(&plan)).unwrap());
    let spec = edited.spec.as_mut().unwrap();
    spec.selector.as_mut().unwrap().insert("app".into(), "kt-ffffffffff".into());
    spec.ports.as_mut().unwrap()[0].target_port = Some(IntOrString::Int(47205));
    let Look::Drifted(next) = plan.look(&edited, LEASE) else { panic!("not seen") };
    assert_eq!(next.original, plan.original);
}

#[test]
fn a_note_of_a_later_version_is_left_alone() {
    let before = two_ports();
    let plan = plan(&before);
    let mut edited = apply(&before, &plan.take(&before, &note(&plan)).unwrap());
    let annotations = edited.metadata.annotations.as_mut().unwrap();
    annotations.insert(names::EXCHANGE.into(), r#"{"v":2}"#.into());
    assert!(matches!(plan.look(&edited, LEASE), Look::Unreadable { later: true, .. }));
    edited.metadata.annotations.as_mut().unwrap().insert(names::EXCHANGE.into(), "{".into());
    assert!(matches!(plan.look(&edited, LEASE), Look::Unreadable { later: false, .. }));
}

#[test]
fn a_key_that_nobody_knows_does_not_keep_our_value() {
    let before = two_ports();
    let plan = plan(&before);
    let mut edited = apply(&before, &plan.take(&before, &note(&plan)).unwrap());
    edited.spec.as_mut().unwrap().selector.as_mut().unwrap().insert("zone".into(), VALUE.into());
    let after = apply(&edited, &plan.restore(&edited).unwrap());
    assert_eq!(after.spec.unwrap().selector, before.spec.unwrap().selector);
}

#[test]
fn two_ports_that_were_renumbered_together_keep_their_targets() {
    let before = two_ports();
    let plan = plan(&before);
    let mut edited = apply(&before, &plan.take(&before, &note(&plan)).unwrap());
    for port in edited.spec.as_mut().unwrap().ports.as_mut().unwrap() {
        port.port += 8000;
    }
    let ports = apply(&edited, &plan.restore(&edited).unwrap()).spec.unwrap().ports.unwrap();
    let targets: Vec<IntOrString> = ports.iter().map(target_of).collect();
    assert_eq!(targets, [IntOrString::String("web".into()), IntOrString::Int(5353)]);
}

#[test]
fn somebody_elses_target_port_survives() {
    let before = two_ports();
    let plan = plan(&before);
    let mut edited = apply(&before, &plan.take(&before, &note(&plan)).unwrap());
    edited.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].target_port = Some(IntOrString::Int(9090));
    let Look::Drifted(next) = plan.look(&edited, LEASE) else { panic!("not seen") };
    assert_eq!(next.original.target_ports["80/TCP"], IntOrString::Int(9090));
    let closed = apply(&edited, &plan.restore(&edited).unwrap());
    assert_eq!(closed.spec.unwrap().ports.unwrap()[0].target_port, Some(IntOrString::Int(9090)));
}

#[test]
fn a_lost_annotation_another_holder_a_new_port_and_a_new_service_are_seen() {
    let before = two_ports();
    let plan = plan(&before);
    let taken = apply(&before, &plan.take(&before, &note(&plan)).unwrap());

    let mut bare = taken.clone();
    bare.metadata.annotations = None;
    assert!(matches!(plan.look(&bare, LEASE), Look::Drifted(_)));
    assert_eq!(plan.look(&taken, "kubetether-other"), Look::Taken(LEASE.into()));

    let mut wider = taken.clone();
    let ports = wider.spec.as_mut().unwrap().ports.as_mut().unwrap();
    ports.push(ServicePort { port: 81, ..Default::default() });
    assert_eq!(plan.look(&wider, LEASE), Look::Reshaped("a new port 81/TCP".into()));

    let mut other = taken;
    other.metadata.uid = Some("u2".into());
    assert_eq!(plan.look(&other, LEASE), Look::Replaced);
}

#[test]
fn a_dead_holders_originals_count() {
    let before = two_ports();
    let first = plan(&before);
    let noted = note(&first);
    let taken = apply(&before, &first.take(&before, &noted).unwrap());
    let second = Plan::new(&taken, "kt-abcdefabcd".into(), &To::port(8080), Some(&noted)).unwrap();
    assert_eq!(second.original, first.original);
    let again = apply(&taken, &second.take(&taken, &note(&second)).unwrap());
    let mut restored = apply(&again, &second.restore(&again).unwrap());
    restored.metadata.annotations = None;
    assert_eq!(restored, before);
    // Without the note nobody knows what was there.
    assert!(Plan::new(&taken, VALUE.into(), &To::port(8080), None).is_err());
}

#[test]
fn what_cannot_be_exchanged_is_refused_with_the_reason() {
    let selector = json!({ "app": "x" });
    let ports = json!([{ "port": 80 }]);
    for (spec, word) in [
        (json!({ "type": "ExternalName", "externalName": "a.example" }), "ExternalName"),
        (json!({ "ports": ports, "clusterIP": "10.0.0.1" }), "no selector"),
        (json!({ "ports": ports, "selector": selector, "clusterIP": "None" }), "headless"),
        (json!({ "ports": ports, "selector": selector, "externalTrafficPolicy": "Local" }), "Local"),
        (json!({ "ports": [{ "port": 80, "protocol": "SCTP" }], "selector": selector }), "SCTP"),
        (json!({ "ports": [], "selector": selector }), "0 ports"),
    ] {
        let error = Plan::new(&service(spec), VALUE.into(), &To::port(1), None).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(error.object(), Some("services/orders"));
    }
}
