//! Links on which nothing happens.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use kubetether_wire::{Event, Link, Open, Read, StreamId};

use crate::{
    counting::held,
    support::{
        raw,
        world::{AGENT, CLIENT, Programs, World},
    },
};

/// Programs that take what comes and hold it.
#[derive(Default)]
struct Holders {
    streams: [Vec<StreamId>; 2],
}

impl Programs for Holders {
    fn event(&mut self, end: usize, event: Event, link: &mut Link) {
        match event {
            Event::Incoming(id, open) => {
                link.accept(id);
                self.streams[end].push(id);
                if open.is_datagrams() {
                    return;
                }
                assert_eq!(link.write_slice(id, b"hello"), Ok(5));
                while let Ok(Read::Chunk(_)) = link.read(id, 100) {}
            }
            Event::Readable(id) if link.receive_datagram(id) != Ok(None) => {}
            Event::Readable(id) => while let Ok(Read::Chunk(_)) = link.read(id, 100) {},
            _ => {}
        }
    }
}

/// Opens so many streams, on each of which both ends have said something.
fn open(world: &mut World, holders: &mut Holders, streams: usize) {
    let dial = Open::Dial { host: "db".into(), port: 1, deadline: Duration::ZERO };
    for _ in 0..streams {
        let id = world.end(CLIENT).open(&dial).unwrap();
        holders.streams[CLIENT].push(id);
        assert_eq!(world.end(CLIENT).write_slice(id, b"question"), Ok(8));
        assert_eq!(world.end(CLIENT).read(id, 100), Ok(Read::Pending));
        world.pass(holders, Duration::from_millis(1));
    }
    world.pass(holders, Duration::from_secs(1));
    assert_eq!(holders.streams[AGENT].len(), streams);
}

#[test]
fn a_day_costs_heartbeats_and_nothing_else() {
    let mut world = World::plain(2);
    let frames: Arc<Mutex<BTreeMap<(usize, u8), u64>>> = Arc::default();
    let tap = frames.clone();
    let mut holders = Holders::default();
    world.tap = Some(Box::new(move |end, _, bytes| {
        for (kind, body) in raw::frames(bytes) {
            assert!(kind == raw::HELLO || body.len() < 60_000);
            *tap.lock().unwrap().entry((end, kind)).or_default() += 1;
        }
        bytes.to_vec()
    }));
    world.pass(&mut holders, Duration::from_millis(100));
    open(&mut world, &mut holders, 50);
    world.pass(&mut holders, Duration::from_secs(60));
    frames.lock().unwrap().clear();
    let (before, sent) = (held(), bytes_sent(&world));
    world.pass(&mut holders, Duration::from_secs(24 * 3600));
    // Every two seconds, on each of two carriers, from each end; and the answers.
    for ((end, kind), count) in frames.lock().unwrap().iter() {
        assert!(*kind == raw::PING || *kind == raw::PONG, "end {end} sends frames of kind {kind}: {count}");
        assert!((86_398..=86_402).contains(count), "end {end}: {count} frames of kind {kind}");
    }
    assert_eq!(frames.lock().unwrap().len(), 4);
    let sent = bytes_sent(&world) - sent;
    assert!(sent < 4 * 86_402 * 8, "{sent} bytes");
    let grown = held() - before;
    assert!(grown < 4096, "{grown} bytes more are held");
    for end in [CLIENT, AGENT] {
        assert_eq!((world.stats(end).streams, world.stats(end).carriers_lost), (50, 0));
    }
}

fn bytes_sent(world: &World) -> u64 {
    world.wires.values().flat_map(|wire| &wire.lanes).map(|lane| lane.passed).sum()
}

/// Associations on each of which both ends have said something.
#[test]
fn ten_thousand_idle_associations() {
    const ASSOCIATIONS: usize = 10_000;
    let mut world = World::plain(2);
    let mut holders = Holders::default();
    world.pass(&mut holders, Duration::from_millis(100));
    let open = Open::DialDatagrams { host: "dns".into(), port: 53, deadline: Duration::ZERO };
    for _ in 0..ASSOCIATIONS {
        let id = world.end(CLIENT).open(&open).unwrap();
        world.end(CLIENT).send_datagram(id, (&b"question"[..]).into()).unwrap();
        world.pass(&mut holders, Duration::from_millis(1));
    }
    world.pass(&mut holders, Duration::from_secs(1));
    let ids = std::mem::take(&mut holders.streams[AGENT]);
    assert_eq!(ids.len(), ASSOCIATIONS);
    for id in ids {
        assert_eq!(world.end(AGENT).receive_datagram(id), Ok(Some((&b"question"[..]).into())));
        world.end(AGENT).send_datagram(id, (&b"answer"[..]).into()).unwrap();
        world.pass(&mut holders, Duration::from_millis(1));
        assert_eq!(world.end(CLIENT).receive_datagram(id), Ok(None));
    }
    world.pass(&mut holders, Duration::from_secs(60));
    for end in [CLIENT, AGENT] {
        assert_eq!(world.stats(end).streams as usize, ASSOCIATIONS);
        let before = held();
        drop(world.links[end].take());
        let each = (before - held()) / ASSOCIATIONS as isize;
        println!("an idle association takes {each} bytes at end {end}");
        assert!(each < 4096, "an idle association takes {each} bytes at end {end}");
    }
}

#[test]
fn ten_thousand_idle_streams() {
    const STREAMS: usize = 10_000;
    let mut world = World::plain(2);
    let mut holders = Holders::default();
    world.pass(&mut holders, Duration::from_millis(100));
    open(&mut world, &mut holders, STREAMS);
    world.pass(&mut holders, Duration::from_secs(60));
    for end in [CLIENT, AGENT] {
        assert_eq!(world.stats(end).streams as usize, STREAMS);
        let before = held();
        drop(world.links[end].take());
        let each = (before - held()) / STREAMS as isize;
        println!("an idle stream takes {each} bytes at end {end}");
        assert!(each < 4096, "an idle stream takes {each} bytes at end {end}");
    }
}
