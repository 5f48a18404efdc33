//! Nobody is held up by those who do not read, and nobody is lost to those who sleep.

use std::time::Duration;

use kubetether_wire::{CloseReason, Event, Link, LinkConfig, Open, Read, Role, StreamId};

use crate::support::{
    script::{Script, everything, noise},
    world::{AGENT, CLIENT, Programs, World},
};

const SECOND: Duration = Duration::from_secs(1);

/// Streams whose readers never read, and one transfer and one call after the other beside them.
#[derive(Default)]
struct Crowd {
    /// Streams that are written to for ever, by the end that writes.
    endless: [Vec<StreamId>; 2],
    /// The transfer: who writes, and what is left of it.
    bulk: Option<(usize, StreamId, Vec<u8>)>,
    got: Vec<u8>,
    call: Option<StreamId>,
    answers: u32,
}

const ENDLESS: u16 = 1;
const BULK: u16 = 2;

impl Crowd {
    fn fill(link: &mut Link, id: StreamId) {
        while link.write_slice(id, &[7; 64 << 10]).is_ok_and(|written| written > 0) {}
    }

    /// Writes what there is room for, and finishes.
    fn push(&mut self, end: usize, link: &mut Link) {
        let Some((_, id, left)) = self.bulk.as_mut().filter(|(by, _, _)| *by == end) else { return };
        while !left.is_empty() {
            match link.write_slice(*id, left).unwrap() {
                0 => return,
                written => left.drain(..written),
            };
        }
        link.finish(*id);
    }

    fn ask(&mut self, link: &mut Link) {
        let id = link.open(&Open::Call).unwrap();
        self.call = Some(id);
        assert_eq!(link.write_slice(id, b"how are you?"), Ok(12));
        link.finish(id);
        assert_eq!(link.read(id, 100), Ok(Read::Pending));
    }
}

impl Programs for Crowd {
    fn event(&mut self, end: usize, event: Event, link: &mut Link) {
        match event {
            Event::Incoming(id, Open::Call) => {
                link.accept(id);
                assert_eq!(link.write_slice(id, b"fine"), Ok(4));
                link.finish(id);
                link.stop(id);
                link.release(id);
            }
            Event::Incoming(id, Open::Dial { port: ENDLESS, .. }) => {
                link.accept(id);
                self.endless[end].push(id);
                Self::fill(link, id);
            }
            Event::Incoming(id, _) => {
                link.accept(id);
                while let Ok(Read::Chunk(bytes)) = link.read(id, usize::MAX) {
                    self.got.extend_from_slice(&bytes);
                }
            }
            Event::Writable(id) if self.endless[end].contains(&id) => Self::fill(link, id),
            Event::Writable(_) => self.push(end, link),
            Event::Readable(id) if self.call == Some(id) => {
                if matches!(link.read(id, 100), Ok(Read::Chunk(_))) {
                    self.answers += 1;
                }
                link.release(id);
                self.ask(link);
            }
            Event::Readable(id)
                if self.bulk.as_ref().is_some_and(|(by, bulk, _)| *by != end && *bulk == id) =>
            {
                while let Ok(Read::Chunk(bytes)) = link.read(id, usize::MAX) {
                    self.got.extend_from_slice(&bytes);
                }
            }
            _ => {}
        }
    }
}

/// A world in which so many streams are full in both directions.
fn crowded(config: impl Fn(Role) -> LinkConfig, streams: usize) -> (World, Crowd) {
    let mut world = World::new(config(Role::Client), config(Role::Gateway), 2);
    world.path.delay = Duration::from_millis(10);
    let mut crowd = Crowd::default();
    world.pass(&mut crowd, SECOND);
    for _ in 0..streams {
        let dial = Open::Dial { host: "db".into(), port: ENDLESS, deadline: Duration::ZERO };
        let id = world.end(CLIENT).open(&dial).unwrap();
        crowd.endless[CLIENT].push(id);
        Crowd::fill(world.end(CLIENT), id);
        world.pass(&mut crowd, Duration::from_millis(20));
    }
    world.pass(&mut crowd, 10 * SECOND);
    (world, crowd)
}

#[test]
fn stopped_readers_hold_up_nobody() {
    let (mut world, mut crowd) = crowded(LinkConfig::new, 100);
    crowd.ask(world.end(CLIENT));
    let bytes = noise(3, 4 << 20);
    let dial = Open::Dial { host: "db".into(), port: BULK, deadline: Duration::ZERO };
    let id = world.end(CLIENT).open(&dial).unwrap();
    crowd.bulk = Some((CLIENT, id, bytes.clone()));
    crowd.push(CLIENT, world.end(CLIENT));
    world.pass(&mut crowd, 20 * SECOND);
    assert_eq!(crowd.got.len(), bytes.len(), "the transfer does not come to its end");
    assert!(crowd.got == bytes);
    // A round trip is 20 to 40 ms.
    assert!(crowd.answers > 300, "only {} calls were answered in 20 s", crowd.answers);
}

/// More stopped readers than there is room for: nothing else can go on, but calls.
#[test]
fn calls_always_work() {
    let small =
        |role| LinkConfig::new(role).stream_window(64 << 10, 1 << 20).link_window(1 << 20).queued(256 << 10);
    let (mut world, mut crowd) = crowded(small, 60);
    crowd.ask(world.end(CLIENT));
    world.pass(&mut crowd, 20 * SECOND);
    assert!(crowd.answers > 300, "only {} calls were answered in 20 s", crowd.answers);
}

/// One end does nothing for a time that is within the grace of the other.
#[test]
fn who_sleeps_for_a_while_loses_nothing() {
    for (end, seconds) in [(CLIENT, 3), (CLIENT, 20), (CLIENT, 50), (AGENT, 3), (AGENT, 20), (AGENT, 50)] {
        for carriers in [1, 3] {
            let mut world = World::plain(carriers);
            let mut script = Script::new(everything(40_000));
            while !script.all_open() {
                script.open_next(&mut world);
                world.pass(&mut script, Duration::from_millis(3));
            }
            world.frozen_until[end] = world.now + seconds * SECOND;
            world.run_until_over(&mut script, 120 * SECOND);
            script.release(&mut world);
            script.check().unwrap_or_else(|error| panic!("end {end} slept {seconds} s: {error}"));
            world.pass(&mut script, 30 * SECOND);
            for end in [CLIENT, AGENT] {
                assert_eq!((world.close_reason(end), world.stats(end).streams), (None, 0));
            }
        }
    }
}

/// A night is longer than any grace: the client learns it from the agent, or by its own clock, and so does every stream.
#[test]
fn who_sleeps_for_a_night_is_told() {
    let mut world = World::plain(2);
    let mut script = Script::new(everything(400_000));
    while !script.all_open() {
        script.open_next(&mut world);
        world.pass(&mut script, Duration::from_millis(1));
    }
    world.frozen_until[CLIENT] = world.now + 8 * 3600 * SECOND;
    world.pass(&mut script, 8 * 3600 * SECOND + 70 * SECOND);
    assert_eq!(world.close_reason(CLIENT), Some(&CloseReason::Lost));
    assert_eq!(world.stats(AGENT).streams, 0);
}

/// Bulk in both directions at once over lines that are equally fast: neither starves the other.
#[test]
fn bulk_both_ways_shares_the_line() {
    for (rate, delay) in [(2_000_000, 1), (2_000_000, 50), (20_000_000, 5), (200_000, 100)] {
        let mut world = World::plain(2);
        world.path.delay = Duration::from_millis(delay);
        let mut crowd = Both;
        world.pass(&mut crowd, SECOND);
        for wire in world.wires.values_mut() {
            wire.lanes.iter_mut().for_each(|lane| lane.rate = rate);
        }
        for _ in 0..2 {
            let dial = Open::Dial { host: "db".into(), port: BULK, deadline: Duration::ZERO };
            let id = world.end(CLIENT).open(&dial).unwrap();
            Crowd::fill(world.end(CLIENT), id);
        }
        // Long lines take some time to be filled.
        world.pass(&mut crowd, 20 * SECOND);
        let before = [CLIENT, AGENT].map(|end| world.stats(end).sent);
        world.pass(&mut crowd, 20 * SECOND);
        let sent = [CLIENT, AGENT].map(|end| world.stats(end).sent - before[end]);
        let line = 20 * 2 * rate;
        for bytes in sent {
            assert!(bytes > line / 3, "{rate} B/s, {delay} ms: {sent:?} of {line}");
        }
    }
}

struct Both;

impl Programs for Both {
    fn event(&mut self, _: usize, event: Event, link: &mut Link) {
        match event {
            Event::Incoming(id, _) => {
                link.accept(id);
                Crowd::fill(link, id);
                while let Ok(Read::Chunk(_)) = link.read(id, usize::MAX) {}
            }
            Event::Answered(id) => while let Ok(Read::Chunk(_)) = link.read(id, usize::MAX) {},
            Event::Writable(id) => Crowd::fill(link, id),
            Event::Readable(id) => while let Ok(Read::Chunk(_)) = link.read(id, usize::MAX) {},
            _ => {}
        }
    }
}
