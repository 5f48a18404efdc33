//! Who may take over a link: the two that made it, whoever answers or knocks in between.

use std::{cell::RefCell, rc::Rc, time::Duration};

use kubetether_wire::{
    CAPABILITY_PROOF, CarrierEnd, CarrierId, CloseReason, Event, FrameReader, GoodbyeCode, Link,
};

use crate::support::{
    lane::BREAKS,
    raw,
    script::{Script, everything},
    world::{AGENT, CLIENT, Programs, World},
};

const SECOND: Duration = Duration::from_secs(1);
const LINK: u64 = 5;
const SECRET: u64 = 6;
const CAPABILITIES: u64 = 9;
const PROOF: u64 = 16;

/// What an end said: on which carrier, its kind, its body.
type Said = Rc<RefCell<Vec<(usize, CarrierId, u8, Vec<u8>)>>>;

/// Lets `change` have its way with the fields of each hello; returns what both ends said.
fn tapped(world: &mut World, change: impl Fn(usize, CarrierId, &mut Vec<raw::Field>) + 'static) -> Said {
    let said = Said::default();
    let log = said.clone();
    world.tap = Some(Box::new(move |end, carrier, bytes| {
        let mut out = Vec::new();
        for (kind, body) in raw::frames(bytes) {
            log.borrow_mut().push((end, carrier, kind, body.to_vec()));
            let mut body = body.to_vec();
            if kind == raw::HELLO {
                let mut fields = raw::fields(&body[10..]);
                change(end, carrier, &mut fields);
                body.truncate(10);
                raw::put_fields(&mut body, &fields);
            }
            raw::put(&mut out, kind, &body);
        }
        out
    }));
    said
}

/// The carriers on which an end said hello with such a field.
fn hellos_with(said: &Said, end: usize, tag: u64) -> Vec<CarrierId> {
    let there = |body: &[u8]| raw::fields(&body[10..]).iter().any(|(known, _)| *known == tag);
    let log = said.borrow();
    let hellos = log.iter().filter(|(by, _, kind, body)| *by == end && *kind == raw::HELLO && there(body));
    hellos.map(|(_, carrier, ..)| *carrier).collect()
}

/// Brings a script to its end, with each carrier cut once.
fn whole(world: &mut World) -> Script {
    let mut script = Script::new(everything(3000));
    while !script.all_open() {
        script.open_next(world);
        world.pass(&mut script, Duration::from_millis(5));
        let first = world.wires.keys().next().copied();
        if let Some(id) = first.filter(|_| world.cuts < 4) {
            world.cut(id, BREAKS[0]);
        }
    }
    world.run_until_over(&mut script, 60 * SECOND);
    script.release(world);
    script.check().unwrap();
    script
}

#[test]
fn the_secret_is_said_until_the_agent_has_answered() {
    let mut world = World::plain(2);
    let said = tapped(&mut world, |_, _, _| {});
    whole(&mut world);
    let (secrets, proofs) = (hellos_with(&said, CLIENT, SECRET), hellos_with(&said, CLIENT, PROOF));
    // Both of the first are dialled at once.
    assert_eq!(secrets, [1, 2]);
    assert!(proofs.len() >= 4 && proofs[0] == 3, "{proofs:?}");
    // Some were cut before they arrived.
    let answers: Vec<_> = hellos_with(&said, AGENT, LINK).into_iter().filter(|id| *id > 2).collect();
    assert!(answers.len() >= 2);
    assert_eq!(hellos_with(&said, AGENT, PROOF), answers);
}

/// An agent that knows no proofs, and a client that does not: as before.
#[test]
fn an_end_without_proofs_is_spoken_to_without() {
    let mut world = World::plain(2);
    let said = tapped(&mut world, |end, _, fields| {
        let capabilities = fields.iter_mut().find(|(tag, _)| *tag == CAPABILITIES).filter(|_| end == AGENT);
        if let Some((_, value)) = capabilities {
            let known = raw::take(&mut &value[..]);
            value.clear();
            raw::number(value, known & !CAPABILITY_PROOF);
        }
    });
    whole(&mut world);
    for end in [CLIENT, AGENT] {
        assert_eq!(hellos_with(&said, end, PROOF), []);
        assert_eq!(world.close_reason(end), None);
    }
    assert!(hellos_with(&said, CLIENT, SECRET).len() >= 6);
}

/// Collects how carriers end.
#[derive(Default)]
struct Listener(Vec<(CarrierId, CarrierEnd)>);

impl Programs for Listener {
    fn event(&mut self, end: usize, event: Event, _: &mut Link) {
        match event {
            Event::CarrierEnded(id, how) if end == CLIENT => self.0.push((id, how)),
            _ => {}
        }
    }
}

/// Somebody has taken the agent's place: knows what is said there, but not the secret.
#[test]
fn whoever_cannot_prove_itself_gets_nothing() {
    let lies: [fn(&mut Vec<raw::Field>); 4] = [
        |fields| fields.retain(|(tag, _)| *tag != PROOF),
        |fields| fields.iter_mut().filter(|(tag, _)| *tag == PROOF).for_each(|(_, proof)| proof[31] ^= 1),
        // An earlier version, which knows of no proofs.
        |fields| fields.retain(|(tag, _)| *tag != PROOF && *tag != CAPABILITIES),
        |fields| fields.iter_mut().filter(|(tag, _)| *tag == PROOF).for_each(|(_, proof)| proof.fill(0)),
    ];
    for lie in lies {
        let mut world = World::plain(1);
        let said = tapped(&mut world, move |end, carrier, fields| {
            if end == AGENT && (2..5).contains(&carrier) {
                lie(fields);
            }
        });
        let mut listener = Listener::default();
        world.pass(&mut listener, SECOND);
        let id = world.end(CLIENT).open(&kubetether_wire::Open::Call).unwrap();
        world.pass(&mut listener, SECOND);
        world.cut(1, BREAKS[0]);
        assert_eq!(world.end(CLIENT).write_slice(id, b"for the agent alone"), Ok(19));
        world.pass(&mut listener, SECOND);
        let unproven: Vec<_> = listener.0.iter().map(|(id, how)| (*id, how.clone())).collect();
        assert_eq!(unproven, [2, 3, 4].map(|id| (id, CarrierEnd::Unproven)));
        for (_, carrier, kind, _) in said.borrow().iter().filter(|(end, ..)| *end == CLIENT) {
            let unproven = (2..5).contains(carrier);
            assert!(!unproven || [raw::HELLO, raw::ACK].contains(kind), "kind {kind} on carrier {carrier}");
        }
        // The agent itself is found again.
        assert_eq!((world.close_reason(CLIENT), world.live_carriers()[CLIENT]), (None, 1));
        assert!(world.end(CLIENT).is_flushed());
        assert_eq!(hellos_with(&said, CLIENT, SECRET), [1]);
    }
}

/// A hello that was overheard opens nothing, neither while its carrier is up nor when it is gone.
#[test]
fn a_hello_is_of_use_once() {
    let mut world = World::plain(2);
    let said = tapped(&mut world, |_, _, _| {});
    whole(&mut world);
    let arrived = hellos_with(&said, AGENT, LINK);
    assert!(arrived.len() > 3);
    let log = said.borrow().clone();
    for (end, carrier, kind, body) in log {
        if end != CLIENT || kind != raw::HELLO || !arrived.contains(&carrier) {
            continue;
        }
        let (mut reader, mut bytes) = (FrameReader::default(), Vec::new());
        raw::put(&mut bytes, kind, &body);
        reader.push(bytes.into());
        let Ok(Some(kubetether_wire::Frame::Hello(hello))) = reader.next_frame() else { panic!() };
        let now = world.now;
        let joined = world.end(AGENT).carrier_join(&hello, reader, now);
        assert_eq!(joined.map_err(|goodbye| goodbye.code), Err(GoodbyeCode::Protocol));
    }
}

/// In the agent's place is one of a version that asks for the secret: what the link held is gone with the other.
#[test]
fn an_agent_that_asks_for_the_secret_again_is_another_one() {
    let mut world = World::plain(1);
    let mut listener = Listener::default();
    world.pass(&mut listener, SECOND);
    let mut link = world.links[CLIENT].take().unwrap();
    let now = world.now;
    link.carrier_down(1, now);
    let id = link.carrier_up(now).unwrap();
    link.poll_transmit(id, now, &mut bytes::BytesMut::new(), 0);
    let mut out = bytes::BytesMut::new();
    let asks = kubetether_wire::Goodbye::new(GoodbyeCode::Secret, "the hello has no secret");
    kubetether_wire::Frame::Goodbye(asks.clone()).encode(&mut out);
    link.handle_input(id, out.freeze(), now);
    assert_eq!(link.close_reason(), Some(&CloseReason::AgentRestarted(asks)));
}
