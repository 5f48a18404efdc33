//! Anything in any order: both ends open, write, read, finish and cut streams as dice fall, while carriers are cut at any
//! byte, lag and overtake each other. Whatever happens, each reader gets a prefix of what was written, all of it when it was
//! finished, and at the end nothing is left anywhere.

use super::*;
use crate::link::turns::Who;

/// Small and good enough: xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What one end knows about its side of a stream.
#[derive(Default)]
struct Side {
    written: u64,
    read: u64,
    finished: bool,
    /// Cut by this end, in whatever way.
    cut: bool,
    released: bool,
    stopped: bool,
}

#[derive(Default)]
struct Both {
    sides: [Side; 2],
    refused: bool,
}

struct Chaos {
    pair: Pair,
    dice: Dice,
    streams: BTreeMap<StreamId, Both>,
    seen: [usize; 2],
}

#[test]
fn whatever_happens() {
    for seed in 1..=60_u64 {
        let mut chaos = Chaos {
            pair: Pair::with(
                config(Role::Client).link_window(1 << 20).stream_window(20_000, 200_000),
                config(Role::Gateway).link_window(512 << 10).stream_window(16 << 10, 64 << 10),
            ),
            dice: Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)),
            streams: BTreeMap::new(),
            seen: [0; 2],
        };
        chaos.pair.max = 8 << 10;
        chaos.pair.connect();
        for _ in 0..3000 {
            chaos.step();
        }
        chaos.settle(seed);
    }
}

/// The byte that belongs at an offset.
fn byte(id: StreamId, end: usize, offset: u64) -> u8 {
    (id.wrapping_mul(31) ^ (end as u64) << 7 ^ offset ^ offset >> 8 ^ offset >> 16) as u8
}

impl Chaos {
    fn step(&mut self) {
        match self.dice.roll(100) {
            0..3 => self.open(),
            3..35 => self.write(),
            35..60 => self.read(),
            60..64 => self.end_one(),
            64..66 if self.pair.wires.len() < 4 => {
                self.pair.connect();
            }
            66 => self.cut(),
            67..70 => {
                let stuck = self.dice.roll(4) as CarrierId;
                for (index, wire) in self.pair.wires.values_mut().enumerate() {
                    wire.stuck = index as CarrierId == stuck;
                }
            }
            70..73 => {
                self.pair.now += Duration::from_millis(self.dice.roll(400));
                let now = self.pair.now;
                self.pair.client.handle_timeout(now);
                if let Some(agent) = &mut self.pair.agent {
                    agent.handle_timeout(now);
                }
            }
            _ => self.carry(),
        }
        self.watch();
    }

    fn open(&mut self) {
        let from = self.dice.roll(2) as usize;
        if self.streams.len() < 40 && (from == CLIENT || self.pair.agent.is_some()) {
            let id = self.pair.end(from).open(&Open::Call).unwrap();
            self.streams.insert(id, Both::default());
        }
    }

    /// A stream on which an end can still do something.
    fn pick(&mut self) -> Option<(StreamId, usize)> {
        let end = self.dice.roll(2) as usize;
        let own = |id: StreamId| id.is_multiple_of(2) == (end == CLIENT);
        let usable: Vec<_> = self
            .streams
            .iter()
            .filter(|(id, both)| {
                let known = own(**id)
                    || self.pair.events[end]
                        .iter()
                        .any(|event| matches!(event, Event::Incoming(known, _) if known == *id));
                known && !both.sides[end].released
            })
            .map(|(id, _)| *id)
            .collect();
        let index = self.dice.roll(usable.len().max(1) as u64) as usize;
        usable.get(index).map(|id| (*id, end))
    }

    fn write(&mut self) {
        let Some((id, end)) = self.pick() else { return };
        let most = 1 << self.dice.roll(16);
        let length = 1 + self.dice.roll(most);
        let side = &mut self.streams.get_mut(&id).unwrap().sides[end];
        if side.finished || side.cut {
            return;
        }
        let bytes: Vec<_> =
            (side.written..side.written + length).map(|offset| byte(id, end, offset)).collect();
        let copied = length.is_multiple_of(2);
        let link = self.pair.end(end);
        let written =
            if copied { link.write_slice(id, &bytes) } else { link.write(id, &mut Bytes::from(bytes)) };
        side.written += written.unwrap_or(0) as u64;
    }

    fn read(&mut self) {
        let Some((id, end)) = self.pick() else { return };
        let most = 1 + self.dice.roll(40_000) as usize;
        self.read_of(id, end, most);
    }

    fn read_of(&mut self, id: StreamId, end: usize, most: usize) -> bool {
        if self.streams[&id].sides[end].stopped {
            return false;
        }
        let read = self.pair.end(end).read(id, most);
        let both = self.streams.get_mut(&id).unwrap();
        match read {
            Ok(Read::Chunk(bytes)) => {
                let side = &mut both.sides[end];
                for got in bytes {
                    assert_eq!(got, byte(id, 1 - end, side.read), "stream {id} at {}", side.read);
                    side.read += 1;
                }
                assert!(both.sides[end].read <= both.sides[1 - end].written);
                true
            }
            Ok(Read::End) => {
                assert!(both.sides[1 - end].finished, "stream {id} ended unasked");
                assert_eq!(both.sides[end].read, both.sides[1 - end].written, "stream {id} ended early");
                false
            }
            Ok(Read::Pending) => false,
            Err(StreamError::Cut(_)) => {
                assert!(both.sides.iter().any(|side| side.cut), "stream {id} was cut by nobody");
                false
            }
            Err(StreamError::Refused(_)) => {
                assert!(both.refused);
                false
            }
            Err(StreamError::Finished) => panic!("a read says finished"),
        }
    }

    /// Ends a stream in one of the ways there are.
    fn end_one(&mut self) {
        let Some((id, end)) = self.pick() else { return };
        let roll = self.dice.roll(10);
        let both = self.streams.get_mut(&id).unwrap();
        let side = &mut both.sides[end];
        let link = if end == CLIENT { &mut self.pair.client } else { self.pair.agent.as_mut().unwrap() };
        match roll {
            0..5 => {
                link.finish(id);
                side.finished |= !side.cut;
            }
            5 => {
                link.reset(id, ResetCode::Reset);
                side.cut = true;
            }
            6 => {
                link.reset_after_data(id, ResetCode::Reset);
                side.cut = true;
            }
            7 => {
                link.stop(id);
                side.stopped = true;
            }
            8 if id.is_multiple_of(2) != (end == CLIENT) && side.written == 0 => {
                link.refuse(id, Refusal::new(crate::RefusalCode::NotAllowed, "dice"));
                (side.released, side.cut, both.refused) = (true, true, true);
            }
            _ => {
                link.release(id);
                (side.released, side.cut) = (true, true);
            }
        }
    }

    /// Lets a carrier take or bring something, at times only a few bytes of it.
    fn carry(&mut self) {
        if self.dice.roll(2) == 0 {
            self.pair.transmit();
        }
        let ids: Vec<_> = self.pair.wires.keys().copied().collect();
        let Some(id) = ids.get(self.dice.roll(ids.len().max(1) as u64) as usize).copied() else { return };
        let roll = self.dice.roll(30_000) as usize;
        let wire = self.pair.wires.get_mut(&id).unwrap();
        for queue in [&mut wire.to_agent, &mut wire.to_client] {
            if let Some(first) = queue.front_mut().filter(|first| first.len() > roll + 1) {
                let rest = first.split_off(roll + 1);
                queue.insert(1, rest);
            }
        }
        self.pair.deliver(id);
    }

    fn cut(&mut self) {
        let ids: Vec<_> = self.pair.wires.keys().copied().collect();
        if let Some(id) = ids.get(self.dice.roll(ids.len().max(1) as u64) as usize) {
            self.pair.cut(*id);
        }
    }

    /// Accepts what comes, and looks that nobody complains.
    fn watch(&mut self) {
        self.pair.collect();
        for end in [CLIENT, AGENT] {
            let new: Vec<_> = self.pair.events[end][self.seen[end]..].to_vec();
            self.seen[end] += new.len();
            for event in new {
                if let Event::Incoming(id, _) = event {
                    self.pair.end(end).accept(id);
                }
            }
        }
        assert_eq!(self.pair.client.close_reason(), None);
        assert_eq!(self.pair.agent.as_ref().and_then(Link::close_reason), None);
    }

    /// All that is open is finished, read and released; then nothing is left.
    fn settle(&mut self, seed: u64) {
        for wire in self.pair.wires.values_mut() {
            wire.stuck = false;
        }
        self.pair.connect();
        for _ in 0..400 {
            self.pair.pass(Duration::from_millis(30));
            self.watch();
            let ids: Vec<_> = self.streams.keys().copied().collect();
            for id in ids {
                for end in [CLIENT, AGENT] {
                    let side = &mut self.streams.get_mut(&id).unwrap().sides[end];
                    if side.released {
                        continue;
                    }
                    if !side.finished && !side.cut {
                        self.pair.end(end).finish(id);
                        side.finished = true;
                    }
                    while self.read_of(id, end, usize::MAX) {}
                }
            }
        }
        for (id, both) in &self.streams {
            for end in [CLIENT, AGENT] {
                let (side, other) = (&both.sides[end], &both.sides[1 - end]);
                if !side.cut && !other.cut {
                    let last = self.pair.end(end).read(*id, 1);
                    // One who said that it does not read has nothing to expect.
                    assert!(
                        last == Ok(Read::End) || side.read < other.written,
                        "seed {seed}, stream {id}: {last:?}"
                    );
                }
            }
        }
        let ids: Vec<_> = self.streams.keys().copied().collect();
        for id in ids {
            self.pair.client.release(id);
            self.pair.agent().release(id);
        }
        self.pair.pass(Duration::from_secs(2));
        for end in [CLIENT, AGENT] {
            let link = self.pair.end(end);
            let stats = link.stats();
            if stats.queued > 0 {
                for (id, c) in &link.carriers {
                    eprintln!(
                        "{id} up {} suspect {} retained {} {:?} {:?}",
                        c.up,
                        c.suspect,
                        c.retained.len(),
                        c.pace,
                        link.shortest
                    );
                }
                eprintln!(
                    "urgent {} resend {} turns {:?} may {} reserve {} {:?}",
                    link.urgent.len(),
                    link.resend.len(),
                    link.turns,
                    link.send_limit - link.sent,
                    link.reserve,
                    stats
                );
                for (id, s) in &link.streams {
                    eprintln!("{id} {:?}", s);
                }
            }
            assert_eq!((stats.streams, stats.buffered, stats.queued), (0, 0, 0), "seed {seed}");
            assert_eq!(stats.unacknowledged, 0, "seed {seed}");
            assert!(link.is_flushed() && !link.turns.wait(Who::All), "seed {seed}");
            assert_eq!((link.opened_here, link.opened_there), (0, 0), "seed {seed}");
            assert_eq!(link.receive.grown(), 0, "seed {seed}");
            let held = (stats.credit, link.queue.held(), link.retained.held());
            assert!(held.0 <= link.config.link_window && held.1 == 0 && held.2 == 0, "seed {seed}: {held:?}");
        }
    }
}
