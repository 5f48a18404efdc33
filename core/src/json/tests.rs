use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::{
    ClientDeath, Error, ErrorCode, Event, Flow, FlowEnd, Flows, HandleId, HandleInfo, HandleState,
    InterceptorDeath, Protocol, Safety, SessionState, Stats,
};

fn told(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn events_have_a_type_and_keep_their_fields() {
    let id = HandleId(3);
    let handle = HandleInfo {
        id,
        mode: "exchange",
        target: "svc/orders".into(),
        state: HandleState::PassThrough("away".into()),
        since: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
    };
    let shown = json!({
        "handle": 3, "mode": "exchange", "target": "svc/orders", "state": "pass_through", "reason": "away",
        "since": "1970-01-01T00:00:01.500Z"
    });
    let mut handle_event = shown.clone();
    handle_event["type"] = "handle".into();
    let safety = Safety { client: ClientDeath::Restored, interceptor: InterceptorDeath::FallbackSlice };
    for (event, expected) in [
        (
            Event::Snapshot {
                session: SessionState::Ready,
                since: SystemTime::UNIX_EPOCH,
                handles: vec![handle.clone()],
            },
            json!({"type": "snapshot", "state": "ready", "since": "1970-01-01T00:00:00.000Z", "handles": [shown]}),
        ),
        (
            Event::Session(SessionState::Degraded("no answer".into())),
            json!({"type": "session", "state": "degraded", "reason": "no answer"}),
        ),
        (Event::Handle(handle), handle_event),
        (
            Event::Resumed { id: Some(id), gap: Duration::from_millis(2_500) },
            json!({"type": "resumed", "handle": 3, "gap": 2.5}),
        ),
        (
            Event::Progress { id: None, step: 1, of: 6, what: "reading".into() },
            json!({"type": "progress", "step": 1, "of": 6, "what": "reading"}),
        ),
        (
            Event::Notice { id: None, text: "by the way".into() },
            json!({"type": "notice", "text": "by the way"}),
        ),
        (
            Event::Safety { id, safety },
            json!({"type": "safety", "handle": 3, "client": "restored", "interceptor": "fallback_slice",
                "text": safety.to_string()}),
        ),
        (Event::Dropped(7), json!({"type": "dropped", "count": 7})),
        (Event::Closed("as asked".into()), json!({"type": "closed", "reason": "as asked"})),
    ] {
        assert_eq!(told(&event), expected);
    }
}

#[test]
fn flows() {
    let id = HandleId(3);
    let open = Flow {
        number: 7,
        handle: id,
        mode: "exchange",
        protocol: Protocol::Tcp,
        from: "10.0.0.7:40000".into(),
        to: "127.0.0.1:8080".into(),
        port: 80,
        began: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500),
        duration: Duration::from_millis(250),
        sent: 3,
        received: 4,
        end: None,
    };
    let ends = [
        (FlowEnd::Finished, json!({"how": "finished"})),
        (FlowEnd::ResetHere, json!({"how": "reset_here"})),
        (FlowEnd::Refused("name not found".into()), json!({"how": "refused", "reason": "name not found"})),
    ];
    let shown = json!({
        "number": 7, "handle": 3, "mode": "exchange", "protocol": "tcp", "from": "10.0.0.7:40000",
        "to": "127.0.0.1:8080", "port": 80, "began": "1970-01-01T00:00:01.500Z", "duration": 0.25, "sent": 3, "received": 4
    });
    let ended = ends.iter().map(|(_, end)| {
        let mut flow = shown.clone();
        flow["protocol"] = "udp".into();
        flow["end"] = end.clone();
        flow
    });
    let expected = json!({"open": [shown], "ended": ended.collect::<Vec<_>>(), "missed": 1, "next": 9});
    let ended =
        ends.iter().map(|(end, _)| Flow { protocol: Protocol::Udp, end: Some(end.clone()), ..open.clone() });
    let flows = Flows { ended: ended.collect(), open: vec![open], missed: 1, next: 9 };
    assert_eq!(told(&flows), expected);
}

#[test]
fn an_error_tells_all_it_knows() {
    let error = Error::new(ErrorCode::AgentStart, "the interceptor did not start")
        .on("pods/x")
        .because(std::io::Error::from(std::io::ErrorKind::NotFound))
        .with_evidence(["Pending".to_owned()])
        .try_this("look at the image");
    let expected = json!({
        "code": "agent_start", "number": 400, "class": "agent", "message": "the interceptor did not start",
        "object": "pods/x", "causes": ["entity not found"], "evidence": ["Pending"], "hint": "look at the image"
    });
    assert_eq!(told(&error), expected);
}

#[test]
fn states_and_counters() {
    assert_eq!(told(&HandleState::Active), json!({"state": "active"}));
    assert_eq!(told(&SessionState::Closed("why".into())), json!({"state": "closed", "reason": "why"}));
    let stats = Stats { connections: 5, open: 1, refused: 2, sent: 3, received: 4 };
    assert_eq!(told(&stats), json!({"connections": 5, "open": 1, "refused": 2, "sent": 3, "received": 4}));
}
