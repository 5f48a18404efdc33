//! How links end.

use super::*;
use crate::{RefusalCode, hello::VERSION_MAX};

fn cut_with(pair: &mut Pair, end: usize, id: StreamId, code: ResetCode) {
    assert_eq!(pair.end(end).read(id, 1), Err(StreamError::Cut(code)));
    assert_eq!(pair.end(end).write_slice(id, b"x"), Err(StreamError::Cut(code)));
}

#[test]
fn a_goodbye_ends_both_ends() {
    let mut pair = Pair::connected(2);
    let id = pair.open(CLIENT);
    pair.client.close(GoodbyeCode::Closed, "done");
    pair.client.close(GoodbyeCode::Internal, "once only");
    pair.run();
    let goodbye = Goodbye::new(GoodbyeCode::Closed, "done");
    assert_eq!(pair.client.close_reason(), Some(&CloseReason::Local(goodbye.clone())));
    assert_eq!(pair.agent().close_reason(), Some(&CloseReason::Peer(goodbye)));
    for end in [CLIENT, AGENT] {
        cut_with(&mut pair, end, id, ResetCode::LinkClosed);
        assert_eq!(pair.count(end, |event| *event == Event::Closed), 1);
        pair.end(end).release(id);
        assert_eq!(pair.end(end).streams.len(), 0);
        assert!(pair.end(end).carrier_finished(1) && pair.end(end).carrier_finished(2));
        assert_eq!(pair.end(end).poll_timeout(), None);
    }
    assert!(matches!(pair.client.open(&Open::Call), Err(OpenFailure::Closed(_))));
    assert_eq!(pair.client.carrier_up(pair.now), None);
}

#[test]
fn what_came_whole_can_be_read_after_the_end() {
    let mut pair = Pair::connected(1);
    let (whole, part) = (pair.open(CLIENT), pair.open(CLIENT));
    for id in [whole, part] {
        pair.write(AGENT, id, b"answer");
    }
    pair.agent().finish(whole);
    pair.run();
    pair.agent().close(GoodbyeCode::Closed, "");
    pair.run();
    assert_eq!(pair.read(CLIENT, whole), b"answer");
    assert_eq!(pair.client.read(whole, 1), Ok(Read::End));
    assert_eq!(pair.read(CLIENT, part), b"answer");
    assert_eq!(pair.client.read(part, 1), Err(StreamError::Cut(ResetCode::LinkClosed)));
}

#[test]
fn streams_outlive_their_carriers_for_the_grace_period() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    for _ in 0..5 {
        let last = *pair.wires.keys().next().unwrap();
        pair.cut(last);
        pair.write(CLIENT, id, b"still here");
        pair.pass(Duration::from_secs(59));
        pair.connect();
        pair.run();
        assert_eq!(pair.read(AGENT, id), b"still here");
    }
    let last = *pair.wires.keys().next().unwrap();
    pair.cut(last);
    pair.pass(Duration::from_secs(60));
    for end in [CLIENT, AGENT] {
        assert_eq!(pair.end(end).close_reason(), Some(&CloseReason::Lost));
        cut_with(&mut pair, end, id, ResetCode::LinkLost);
    }
}

#[test]
fn a_client_without_a_first_carrier_waits() {
    let mut pair = Pair::new();
    let id = pair.client.open(&Open::Call).unwrap();
    pair.pass(Duration::from_secs(600));
    pair.connect();
    pair.run();
    pair.agent().accept(id);
    pair.run();
    assert_eq!(pair.client.opened(id), Some(Ok(())));
}

#[test]
fn a_restarted_agent_is_no_resume() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    pair.cut(1);
    // Another process, which answers for any link.
    (pair.agent, pair.incarnation) = (None, [10; 16]);
    pair.connect();
    pair.run();
    let reason = pair.client.close_reason().cloned();
    assert!(matches!(&reason, Some(CloseReason::AgentRestarted(_))), "{reason:?}");
    cut_with(&mut pair, CLIENT, id, ResetCode::AgentRestarted);
}

#[test]
fn an_agent_that_gave_the_link_up_says_so() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    pair.cut(1);
    let later = pair.now + Duration::from_secs(60);
    pair.agent().handle_timeout(later);
    assert_eq!(pair.agent().close_reason(), Some(&CloseReason::Lost));
    pair.connect();
    pair.run();
    let reason = pair.client.close_reason().cloned();
    assert_eq!(reason, Some(CloseReason::Lost));
    cut_with(&mut pair, CLIENT, id, ResetCode::LinkLost);
}

#[test]
fn a_stranger_cannot_join() {
    let mut pair = Pair::connected(1);
    let now = pair.now;
    for (hello, code) in [
        (Hello { secret: Some([8; 32].into()), proof: None, ..pair.client.hello(7) }, GoodbyeCode::Secret),
        (Hello { proof: Some([8; 32].into()), ..pair.client.hello(7) }, GoodbyeCode::Secret),
        (Hello { secret: None, proof: None, ..pair.client.hello(7) }, GoodbyeCode::Secret),
        // One that was said on another carrier.
        (Hello { carrier: 8, ..pair.client.hello(7) }, GoodbyeCode::Secret),
        (pair.client.hello(1), GoodbyeCode::Protocol),
        (pair.client.hello(0), GoodbyeCode::Protocol),
        (Hello { resuming: Some([8; 16]), ..pair.client.hello(7) }, GoodbyeCode::AgentRestarted),
        (
            Hello { version_min: VERSION_MAX + 1, version_max: VERSION_MAX + 1, ..pair.client.hello(7) },
            GoodbyeCode::Version,
        ),
    ] {
        let joined = pair.agent().carrier_join(&hello, FrameReader::default(), now);
        assert_eq!(joined.map_err(|goodbye| goodbye.code), Err(code));
    }
    assert_eq!(pair.agent().live_carriers(), 1);
    let gateway = Hello { role: Role::Gateway, resuming: None, ..pair.client.hello(7) };
    let refused = Link::agent(config(Role::Gateway), &gateway, [9; 16]).map_err(|goodbye| goodbye.code);
    assert_eq!(refused.err(), Some(GoodbyeCode::Role));
}

#[test]
fn a_client_of_a_later_version_is_spoken_to_in_ours() {
    let pair = Pair::new();
    let later = Hello { version_max: 9, capabilities: u64::MAX >> 2, ..pair.client.hello(1) };
    let now = pair.now;
    let mut agent = Link::agent(config(Role::Gateway), &later, [9; 16]).unwrap();
    assert_eq!(agent.carrier_join(&later, FrameReader::default(), now), Ok(1));
    assert_eq!(agent.peer().unwrap().version, VERSION_MAX);
    // What only the later one knows is skipped.
    let mut out = BytesMut::new();
    out.extend_from_slice(&[0x7e, 0, 0, 2, 1, 2]);
    Frame::Open { stream: 2, fields: vec![1, 1, 3, 62, 1, 0].into() }.encode(&mut out);
    agent.handle_input(1, out.freeze(), now);
    assert_eq!(agent.poll_event(), Some(Event::CarrierUp(1)));
    assert_eq!(agent.poll_event(), Some(Event::Incoming(2, Open::Call)));
}

#[test]
fn a_notice_of_leaving_changes_nothing_yet() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    pair.agent().drain("terminating");
    pair.run();
    pair.agent().drain("terminating");
    assert!(!pair.agent().carrier_has_output(1), "said again");
    // Said again on each new carrier, told once.
    pair.connect();
    pair.run();
    let notice = Event::PeerDraining("terminating".into());
    assert_eq!(pair.count(CLIENT, |event| *event == notice), 1);
    pair.write(CLIENT, id, b"on");
    pair.run();
    assert_eq!(pair.read(AGENT, id), b"on");
}

/// Hands frames to the agent as if the client had sent them.
fn say(pair: &mut Pair, carrier: CarrierId, frames: &[Frame]) {
    let mut out = BytesMut::new();
    for frame in frames {
        frame.encode(&mut out);
    }
    let now = pair.now;
    pair.agent().handle_input(carrier, out.freeze(), now);
}

#[test]
fn a_goodbye_may_be_of_one_carrier_or_a_notice() {
    let mut pair = Pair::connected(2);
    let id = pair.open(CLIENT);
    let notice = Goodbye::new(GoodbyeCode::Other(65), "of a later version");
    say(
        &mut pair,
        2,
        &[Frame::Goodbye(notice), Frame::Goodbye(Goodbye::new(GoodbyeCode::Carrier, "this one"))],
    );
    pair.run();
    assert_eq!(pair.count(AGENT, |event| *event == Event::CarrierEnded(2, CarrierEnd::Abandoned)), 1);
    assert_eq!(pair.agent().close_reason(), None);
    assert_eq!(pair.agent().live_carriers(), 1);
    pair.write(CLIENT, id, b"on");
    pair.pass(Duration::from_secs(6));
    assert_eq!(pair.read(AGENT, id), b"on");
    // One that is no notice and not known ends the link.
    let other = Goodbye::new(GoodbyeCode::Other(63), "");
    say(&mut pair, 1, &[Frame::Goodbye(other.clone())]);
    assert_eq!(pair.agent().close_reason(), Some(&CloseReason::Peer(other)));
}

#[test]
fn an_open_that_cannot_be_read_is_refused_and_the_link_lives() {
    let mut pair = Pair::connected(1);
    let whole = pair.open(CLIENT);
    // A critical field, a cut one, none at all, and a port out of range.
    let bad: [&'static [u8]; 4] =
        [&[1, 1, 3, 33, 1, 0], &[1, 9], &[], &[1, 1, 1, 2, 1, b'x', 3, 4, 0x80, 1, 0, 0]];
    for fields in bad {
        let id = pair.client.open(&Open::Call).unwrap();
        let Some(Retained::Open { fields: said, .. }) = pair.client.urgent.back_mut() else {
            panic!("no OPEN")
        };
        *said = Bytes::from_static(fields);
        pair.run();
        let answer = pair.client.opened(id);
        assert!(
            matches!(&answer, Some(Err(StreamError::Refused(refusal))) if refusal.code == RefusalCode::Unsupported),
            "{answer:?}"
        );
        pair.client.release(id);
    }
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.agent().close_reason(), None);
    assert_eq!(pair.agent().stats().streams, 1);
    pair.write(CLIENT, whole, b"on");
    pair.run();
    assert_eq!(pair.read(AGENT, whole), b"on");
}

#[test]
fn an_agent_of_another_version_is_named_though_its_hello_cannot_be_read() {
    let mut pair = Pair::new();
    let now = pair.now;
    let id = pair.client.carrier_up(now).unwrap();
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(&[1, 0, 0, 19]);
    bytes.extend_from_slice(b"kubetether\x01\x01\x09\x02\x01\x09\x05\x01x");
    pair.client.handle_input(id, bytes.freeze(), now);
    pair.collect();
    let version = |event: &Event| matches!(event, Event::CarrierEnded(_, CarrierEnd::Refused(goodbye)) if goodbye.code == GoodbyeCode::Version);
    assert_eq!(pair.count(CLIENT, version), 1, "{:?}", pair.events[CLIENT]);
}

#[test]
fn the_secret_is_not_printed() {
    let pair = Pair::new();
    assert!(!format!("{:?}", pair.client).contains("2, 2, 2"));
}

#[test]
fn a_peer_that_breaks_a_rule_ends_the_link() {
    let reset = Frame::Reset { stream: 2, code: ResetCode::Reset, end: 3, deliver: 0 };
    let cases: [(&str, Vec<Frame>); 8] = [
        ("a number of the receiver's", vec![Frame::Open { stream: 1, fields: vec![1, 1, 3].into() }]),
        ("never opened", vec![Frame::Opened(1)]),
        ("OPENED for a stream of the sender's", vec![Frame::Opened(2)]),
        ("not sent", vec![Frame::Ack { carrier: 1, frames: 99, last: false }]),
        ("second HELLO", vec![Frame::Hello(Box::new(Pair::new().client.hello(1)))]),
        ("credit for", vec![Frame::Data { stream: 2, offset: 131_072, bytes: vec![0].into() }]),
        ("two ends", vec![Frame::Fin { stream: 2, end: 5 }, reset]),
        (
            "behind the end",
            vec![
                Frame::Fin { stream: 2, end: 5 },
                Frame::Data { stream: 2, offset: 5, bytes: vec![0].into() },
            ],
        ),
    ];
    for (text, frames) in cases {
        let mut pair = Pair::connected(1);
        let now = pair.now;
        let mut out = BytesMut::new();
        for frame in frames {
            frame.encode(&mut out);
        }
        pair.agent().handle_input(1, out.freeze(), now);
        let Some(CloseReason::Protocol(error)) = pair.agent().close_reason().cloned() else {
            panic!("{text}: not noticed")
        };
        assert!(error.to_string().contains(text), "{text}: {error}");
        pair.run();
        assert!(
            matches!(pair.client.close_reason(), Some(CloseReason::Peer(goodbye)) if goodbye.text.contains(text))
        );
    }
}

#[test]
fn something_else_than_an_agent_is_turned_away_and_the_link_lives() {
    let mut pair = Pair::connected(1);
    let now = pair.now;
    let id = pair.client.carrier_up(now).unwrap();
    pair.client.handle_input(id, Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n\r\n"), now);
    // Unknown frames may come first; a known one that is no HELLO may not.
    let other = pair.client.carrier_up(now).unwrap();
    let mut out = BytesMut::new();
    Frame::Ping(1).encode(&mut out);
    pair.client.handle_input(other, out.freeze(), now);
    pair.collect();
    let broken = |event: &Event| matches!(event, Event::CarrierEnded(_, CarrierEnd::Protocol(_)));
    assert_eq!(pair.count(CLIENT, broken), 1);
    assert!(pair.client.close_reason().is_none());
    pair.client.carrier_down(id, now);
    assert_eq!(pair.client.live_carriers(), 1);
}

#[test]
fn a_refusal_of_the_limit_is_one_of_many() {
    let mut pair = Pair::with(config(Role::Client), config(Role::Gateway).max_streams(2));
    // Opened before the agent said how many it takes.
    let ids: Vec<_> = (0..4).map(|_| pair.client.open(&Open::Call).unwrap()).collect();
    pair.connect();
    pair.run();
    let refused = ids
        .iter()
        .filter(|id| {
            matches!(pair.client.opened(**id),
                Some(Err(StreamError::Refused(refusal))) if refusal.code == RefusalCode::Limit)
        })
        .count();
    assert_eq!(refused, 2);
}
