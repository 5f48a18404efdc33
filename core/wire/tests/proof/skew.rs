//! Ends of different versions: one of this version and one of a later one, either way; and two that cannot talk.

use std::time::Duration;

use kubetether_wire::{
    Answer, CarrierEnd, CarrierId, DecodeError, Event, Goodbye, GoodbyeCode, Link, Open, Refusal,
    RefusalCode, Request, VERSION_MAX, VERSION_MIN,
};

use crate::support::{
    lane::BREAKS,
    later::{Later, critical, later},
    raw,
    script::{Script, everything},
    world::{AGENT, CLIENT, Programs, World},
};

/// Every frame with something more, and frames of kinds that are not known between them: all goes as before.
#[test]
fn a_later_version_at_either_end() {
    for ends in [[true, false], [false, true], [true, true]] {
        for size in [300, 40_000] {
            let mut world = World::plain(2);
            let shim = std::sync::Arc::new(std::sync::Mutex::new(Later::new(ends)));
            let tap = shim.clone();
            world.tap =
                Some(Box::new(move |end, carrier, bytes| tap.lock().unwrap().pass(end, carrier, bytes)));
            let mut script = Script::new(everything(size));
            while !script.all_open() {
                script.open_next(&mut world);
                world.pass(&mut script, Duration::from_millis(3));
                // Carriers are lost, and what was put in is not taken for what was said.
                let second = world.wires.keys().nth(1).copied();
                if let Some(id) = second.filter(|_| world.cuts < 4) {
                    world.cut(id, BREAKS[world.cuts as usize]);
                }
            }
            world.run_until_over(&mut script, Duration::from_secs(60));
            script.release(&mut world);
            script.check().unwrap();
            world.pass(&mut script, Duration::from_secs(10));
            for end in [CLIENT, AGENT] {
                assert_eq!(world.close_reason(end), None);
                assert!(world.end(end).is_flushed(), "end {end} waits for an acknowledgement");
                // Both speak what both know.
                assert_eq!(world.end(end).peer().map(|peer| peer.version), Some(VERSION_MAX));
            }
            let added = shim.lock().unwrap().added;
            assert!(added > 30, "only {added} frames were put in");
        }
    }
}

/// Collects how carriers and streams end.
#[derive(Default)]
struct Listener {
    carriers: Vec<(usize, CarrierId, CarrierEnd)>,
    offered: Vec<Open>,
    answered: Vec<Option<Result<(), kubetether_wire::StreamError>>>,
}

impl Programs for Listener {
    fn event(&mut self, end: usize, event: Event, link: &mut Link) {
        match event {
            Event::CarrierEnded(id, how) => self.carriers.push((end, id, how)),
            Event::Incoming(id, open) => {
                self.offered.push(open);
                link.accept(id);
            }
            Event::Answered(id) => self.answered.push(link.opened(id)),
            _ => {}
        }
    }
}

/// A world in which the hello of one end has these fields put in place of its own, or behind them.
fn with_hello(end: usize, changes: Vec<raw::Field>) -> (World, Listener) {
    let mut world = World::plain(1);
    world.tap = Some(Box::new(move |by, _, bytes| {
        let mut out = Vec::new();
        for (kind, body) in raw::frames(bytes) {
            let mut body = body.to_vec();
            if by == end && kind == raw::HELLO {
                let mut fields = raw::fields(&body[10..]);
                for (tag, value) in &changes {
                    fields.retain(|(known, _)| known != tag);
                    fields.push((*tag, value.clone()));
                }
                body.truncate(10);
                raw::put_fields(&mut body, &fields);
            }
            raw::put(&mut out, kind, &body);
        }
        out
    }));
    let mut listener = Listener::default();
    world.pass(&mut listener, Duration::from_millis(15));
    (world, listener)
}

fn turned_away(listener: &Listener) -> &Goodbye {
    match &listener.carriers[..] {
        [(CLIENT, 1, CarrierEnd::Refused(goodbye)), ..] => goodbye,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_common_version_both_are_named() {
    let ours = format!("{VERSION_MIN} to {VERSION_MAX}");
    for end in [CLIENT, AGENT] {
        let later = vec![(1, vec![7]), (2, vec![9]), (14, b"9.9.9".to_vec())];
        let (world, listener) = with_hello(end, later);
        let goodbye = turned_away(&listener);
        assert_eq!(goodbye.code, GoodbyeCode::Version);
        for needed in [&ours[..], "7 to 9", "9.9.9", env!("CARGO_PKG_VERSION")] {
            assert!(goodbye.text.contains(needed), "{:?} does not tell {needed}", goodbye.text);
        }
        assert_eq!(world.close_reason(CLIENT), None, "the client may find another agent");
        assert_eq!(world.live_carriers()[CLIENT], 0);
    }
}

#[test]
fn a_hello_that_must_be_understood_is_turned_away() {
    for end in [CLIENT, AGENT] {
        let (_, listener) = with_hello(end, vec![critical()]);
        let goodbye = turned_away(&listener);
        assert_eq!(goodbye.code, GoodbyeCode::Version);
        assert!(goodbye.text.contains("33"), "{}", goodbye.text);
    }
}

#[test]
fn a_stream_that_must_be_understood_is_refused_alone() {
    let mut world = World::plain(1);
    world.tap = Some(Box::new(|end, _, bytes| {
        let mut out = Vec::new();
        for (kind, body) in raw::frames(bytes) {
            let mut body = body.to_vec();
            // Only the first stream: the others must not suffer.
            if end == CLIENT && kind == raw::OPEN && body[0] == 2 {
                raw::put_fields(&mut body, &[critical()]);
            }
            raw::put(&mut out, kind, &body);
        }
        out
    }));
    let mut listener = Listener::default();
    world.pass(&mut listener, Duration::from_millis(10));
    let dial = Open::Dial { host: "db".into(), port: 1, deadline: Duration::ZERO };
    for open in [&dial, &Open::Unknown(77), &Open::Call] {
        world.end(CLIENT).open(open).unwrap();
    }
    world.pass(&mut listener, Duration::from_millis(50));
    assert_eq!(listener.offered, [Open::Call]);
    let unsupported = |answer: &Option<Result<(), _>>| {
        let Some(Err(kubetether_wire::StreamError::Refused(Refusal { code, text, .. }))) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(*code, RefusalCode::Unsupported);
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    };
    assert_eq!(listener.answered.len(), 3);
    listener.answered[..2].iter().for_each(unsupported);
    assert_eq!(listener.answered[2], Some(Ok(())));
    assert_eq!(world.close_reason(CLIENT), None);
}

#[test]
fn fields_of_calls_are_skipped_or_refused() {
    let behind = |bytes: Vec<u8>, field: raw::Field| {
        let mut bytes = bytes;
        raw::put_fields(&mut bytes, &[field]);
        bytes
    };
    let request = Request::Arm { exposed: vec![80], holder: "ann@box".into() };
    assert_eq!(Request::decode(&behind(request.encode(), later())), Ok(request.clone()));
    assert_eq!(Request::decode(&behind(request.encode(), critical())), Err(DecodeError::Critical(33)));
    let answer = Answer::Arm { exposed: vec![80] };
    assert_eq!(Answer::decode(&behind(answer.encode(), later())), Ok(answer.clone()));
    assert_eq!(Answer::decode(&behind(answer.encode(), critical())), Err(DecodeError::Critical(33)));
}

/// An end of a version without datagrams is asked for no association, and one that asks for some is refused; streams go on.
#[test]
fn an_end_without_datagrams() {
    let udp = Open::DialDatagrams { host: "dns".into(), port: 53, deadline: Duration::ZERO };
    for end in [CLIENT, AGENT] {
        let (mut world, mut listener) = with_hello(end, vec![(9, vec![0])]);
        let said = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let tap = said.clone();
        world.tap = Some(Box::new(move |by, _, bytes| {
            let frames = raw::frames(bytes).into_iter().filter(|_| by == 1 - end).map(|(kind, _)| kind);
            tap.lock().unwrap().extend(frames.filter(|kind| [raw::OPEN, raw::DATAGRAM].contains(kind)));
            bytes.to_vec()
        }));
        for opener in [CLIENT, AGENT] {
            let id = world.end(opener).open(&udp).unwrap();
            world.end(opener).send_datagram(id, (&b"question"[..]).into()).ok();
            world.pass(&mut listener, Duration::from_millis(50));
            let Some(Err(kubetether_wire::StreamError::Refused(refusal))) = world.end(opener).opened(id)
            else {
                panic!("end {end} is asked for an association by {opener}");
            };
            assert_eq!(refusal.code, RefusalCode::Unsupported);
            assert!(refusal.text.contains(env!("CARGO_PKG_VERSION")), "{}", refusal.text);
        }
        assert!(said.lock().unwrap().is_empty(), "{:?}", said.lock().unwrap());
        let id = world.end(CLIENT).open(&Open::Call).unwrap();
        world.pass(&mut listener, Duration::from_millis(50));
        assert_eq!(world.end(CLIENT).opened(id), Some(Ok(())));
        assert_eq!(listener.offered, [Open::Call]);
    }
}

/// Bits that only say what the sender can take are no reason to turn it away, and nothing is sent that it cannot take.
#[test]
fn capabilities_may_be_unknown_or_missing() {
    for end in [CLIENT, AGENT] {
        for capabilities in [vec![0], vec![0xff; 8]] {
            let (world, listener) = with_hello(end, vec![(9, capabilities)]);
            assert_eq!(world.live_carriers(), [1, 1]);
            assert!(listener.carriers.is_empty());
        }
    }
}
