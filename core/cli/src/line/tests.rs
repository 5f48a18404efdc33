use super::*;

fn json(line: &Line) -> String {
    serde_json::to_string(line).unwrap()
}

fn state(state: &'static str, reason: Option<&str>) -> State {
    State { state, reason: reason.map(str::to_owned) }
}

/// One of each, with what it has to look like: programs parse these.
fn all() -> Vec<(Line, &'static str)> {
    vec![
        (Line::Session(state("ready", None)), r#"{"type":"session","state":"ready"}"#),
        (
            Line::Session(state("degraded", Some("no link"))),
            r#"{"type":"session","state":"degraded","reason":"no link"}"#,
        ),
        (
            Line::Handle {
                handle: 1,
                mode: "exchange",
                target: "svc/orders".into(),
                state: state("pass_through", Some("gone")),
            },
            r#"{"type":"handle","handle":1,"mode":"exchange","target":"svc/orders","state":"pass_through","reason":"gone"}"#,
        ),
        (Line::Resumed { handle: Some(1), gap_ms: 1500 }, r#"{"type":"resumed","handle":1,"gap_ms":1500}"#),
        (Line::Resumed { handle: None, gap_ms: 0 }, r#"{"type":"resumed","gap_ms":0}"#),
        (
            Line::Progress { handle: Some(1), step: 2, of: 7, what: "on".into() },
            r#"{"type":"progress","handle":1,"step":2,"of":7,"what":"on"}"#,
        ),
        (
            Line::Progress { handle: None, step: 1, of: 1, what: "on".into() },
            r#"{"type":"progress","step":1,"of":1,"what":"on"}"#,
        ),
        (
            Line::Notice { handle: None, text: "a \"quoted\"\nline".into() },
            r#"{"type":"notice","text":"a \"quoted\"\nline"}"#,
        ),
        (
            Line::Safety {
                handle: 1,
                client: "restored",
                interceptor: "fallback_slice",
                text: "should".into(),
            },
            r#"{"type":"safety","handle":1,"client":"restored","interceptor":"fallback_slice","text":"should"}"#,
        ),
        (Line::Dropped { count: 3 }, r#"{"type":"dropped","count":3}"#),
        (
            Line::Exchange {
                handle: 1,
                target: "svc/orders".into(),
                namespace: "shop".into(),
                ports: vec![Port { service_port: 80, local: "127.0.0.1:8080".into() }],
                passed_through: vec![443],
            },
            r#"{"type":"exchange","handle":1,"target":"svc/orders","namespace":"shop","ports":[{"service_port":80,"local":"127.0.0.1:8080"}],"passed_through":[443]}"#,
        ),
        (
            Line::Forward { handle: 2, destination: "db:5432".into(), address: "127.0.0.1:40000".into() },
            r#"{"type":"forward","handle":2,"destination":"db:5432","address":"127.0.0.1:40000"}"#,
        ),
        (
            Line::Status(crate::status::tests::told()),
            r#"{"type":"status","services":[{"namespace":"shop","service":"orders","mode":"exchange","ports":[80],"lease":"kubetether-1a2b3c4d","who":"ana@laptop","since":null,"life":"dead","condition":"pass_through","reason":"the session that holds it is dead"}],"sessions":[{"namespace":"shop","lease":"kubetether-1a2b3c4d","who":null,"started":null,"life":"dead"}],"leftovers":["shop deployments/kt-orders-0123456789"],"unseen":[{"what":"jobs","why":"jobs is forbidden"}]}"#,
        ),
        (
            Line::Clean(crate::clean::tests::told(true)),
            r#"{"type":"clean","dry_run":true,"restored":[{"namespace":"shop","object":"services/orders","leases":["kubetether-1"]}],"deleted":[{"namespace":"shop","object":"leases/kubetether-1"}],"left":[{"namespace":"shop","object":"leases/kubetether-2","why":"its session lives","failed":false}],"unseen":[]}"#,
        ),
        (
            Line::Recover(crate::recover::tests::told()),
            r#"{"type":"recover","namespace":"shop","service":"orders","changed":true,"held_by":["ana@laptop"],"untold":[]}"#,
        ),
        (Line::Closing { because: Because::ReaderGone }, r#"{"type":"closing","because":"reader_gone"}"#),
        (Line::Restored, r#"{"type":"restored"}"#),
        (
            Line::Abandoned { namespace: "shop".into(), left: vec!["svc/orders".into()] },
            r#"{"type":"abandoned","namespace":"shop","left":["svc/orders"]}"#,
        ),
        (
            Line::of_error(&"frob/x".parse::<kubetether::Target>().unwrap_err()),
            r#"{"type":"error","code":"config","number":100,"class":"usage","message":"target `frob/x`: `frob` is not a kind kubetether knows","causes":[],"evidence":[],"hint":"write svc/NAME, deploy/NAME, sts/NAME, ds/NAME, job/NAME, pod/NAME or just the Service's name"}"#,
        ),
    ]
}

#[test]
fn each_has_its_json_shape_on_one_line() {
    for (line, expected) in all() {
        assert_eq!(json(&line), expected);
        assert!(!json(&line).contains('\n'));
    }
}

#[test]
fn the_help_names_every_type_and_field() {
    for (line, _) in all() {
        let value = serde_json::to_value(&line).unwrap();
        let entry = HELP
            .lines()
            .find(|text| text.trim_start().split(' ').next() == value["type"].as_str())
            .unwrap_or_else(|| panic!("{value} is not in the help"));
        for field in value.as_object().unwrap().keys().filter(|field| *field != "type") {
            assert!(entry.contains(field.as_str()), "{field} is not in {entry:?}");
        }
    }
}

#[test]
fn a_snapshot_tells_the_session_and_each_handle() {
    let since = std::time::SystemTime::now();
    let event = Event::Snapshot { session: SessionState::Ready, since, handles: Vec::new() };
    assert_eq!(Line::of_event(event), [Line::Session(state("ready", None))]);
}

#[test]
fn reasons_are_kept() {
    assert_eq!(State::of_handle(HandleState::Lost("deleted".into())), state("lost", Some("deleted")));
    assert_eq!(State::of_session(SessionState::Closed("by whom".into())), state("closed", Some("by whom")));
}
