//! Anything in any order, against a reference that knows what was written, finished and cut: each reader gets a prefix of
//! what was written, all of it when it was finished, and exactly the end that was meant; memory stays within its bounds at
//! each step; programs that do nothing but follow events never hang; at the end nothing is left.

mod associations;
mod op;
mod stream;

use std::{collections::BTreeMap, time::Duration};

use kubetether_wire::{
    Budget, CloseReason, Event, Link, LinkConfig, Open, OpenFailure, ResetCode, Role, StreamId,
};

use self::associations::Associations;
pub(crate) use self::op::Op;
use self::stream::{Both, dice};
use super::world::{AGENT, CLIENT, Programs, World};

/// The bounds that an end was given.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    link_window: u64,
    send_buffer: u64,
    queued: u64,
    unacknowledged: u64,
    /// Of all three together.
    budget: u64,
}

/// Small, smallest, as they are by default, and those with far too little for it.
const BOUNDS: [Bounds; 4] = [
    Bounds {
        link_window: 1 << 20,
        send_buffer: 64 << 10,
        queued: 1 << 20,
        unacknowledged: 1 << 20,
        budget: 4 << 20,
    },
    Bounds {
        link_window: 64 << 10,
        send_buffer: 16 << 10,
        queued: 16 << 10,
        unacknowledged: 1 << 20,
        budget: 0,
    },
    Bounds {
        link_window: 48 << 20,
        send_buffer: 256 << 10,
        queued: 8 << 20,
        unacknowledged: 36 << 20,
        budget: 64 << 20,
    },
    Bounds {
        link_window: 48 << 20,
        send_buffer: 256 << 10,
        queued: 8 << 20,
        unacknowledged: 36 << 20,
        budget: 3 << 19,
    },
];
const GRACE: Duration = Duration::from_secs(12);

/// The programs at both ends, and what is known about them.
struct Model {
    bounds: [Bounds; 2],
    budgets: [Budget; 2],
    streams: BTreeMap<StreamId, Both>,
    associations: Associations,
    /// Offered to an end, not answered.
    pending: [Vec<StreamId>; 2],
    closed: [bool; 2],
    /// The client has heard of the agent.
    met: bool,
    restarted: bool,
    /// Everything is on its way to its end.
    settling: bool,
    /// Everything came there; what is still offered was cut on its way.
    over: bool,
}

/// Runs operations: the first byte chooses the bounds, the rest are [`Op`]s. Panics where something is not as it must be.
pub(crate) fn run(bytes: &[u8]) {
    let (preset, ops) = bytes.split_first().unwrap_or((&0, &[]));
    run_ops(*preset, &Op::decode_all(ops));
}

/// Runs operations.
pub(crate) fn run_ops(preset: u8, ops: &[Op]) {
    let bounds = [preset, preset >> 4].map(|preset| BOUNDS[usize::from(preset & 15) % BOUNDS.len()]);
    let budgets = bounds.map(|bounds| Budget::new(bounds.budget));
    let [client, agent] = [(CLIENT, Role::Client), (AGENT, Role::Gateway)]
        .map(|(end, role)| bounds[end].config(role).budget(budgets[end].clone()));
    let mut world = World::new(client, agent, 1);
    world.max = if preset & 8 == 0 { 32 << 10 } else { 8 << 10 };
    let mut model = Model {
        bounds,
        budgets,
        streams: BTreeMap::new(),
        associations: Associations::default(),
        pending: Default::default(),
        closed: [false; 2],
        met: false,
        restarted: false,
        settling: false,
        over: false,
    };
    for op in ops {
        model.step(&mut world, *op);
        model.check_bounds(&world);
        if model.closed != [false; 2] || model.restarted {
            return model.end_lost(&mut world);
        }
    }
    model.settle(&mut world);
}

impl Bounds {
    fn config(&self, role: Role) -> LinkConfig {
        LinkConfig::new(role)
            .heartbeat(Duration::from_secs(1))
            .silence(Duration::from_millis(2500))
            .grace(GRACE)
            .stream_window((self.link_window / 64).max(16 << 10), self.link_window / 4)
            .link_window(self.link_window)
            .send_buffer(self.send_buffer as usize)
            .queued(self.queued as usize)
            .unacknowledged(self.unacknowledged)
            .max_carriers(6)
    }
}

impl Model {
    fn step(&mut self, world: &mut World, op: Op) {
        let now = world.now;
        match op {
            Op::Pass(time) => world.pass(self, time),
            Op::Open { end } => self.open(world, end, false),
            Op::Call => self.open(world, CLIENT, true),
            Op::Answer { end, pick, accept } => self.answer(world, end, pick, accept),
            Op::Write { end, pick, length } => {
                self.with(world, end, pick, |both, id, link| {
                    both.write(end, id, length as u64, link);
                    both.sides[end].target = both.sides[end].target.max(both.sides[end].written);
                });
            }
            Op::Flow { end, pick, length } => self.with(world, end, pick, |both, id, link| {
                both.sides[end].target += length as u64;
                both.push(end, id, link);
            }),
            Op::Read { end, pick, most } => self.with(world, end, pick, |both, id, link| {
                both.read(end, id, most, link);
            }),
            Op::Drain { end, pick, reads } => self.with(world, end, pick, |both, id, link| {
                both.sides[end].drains = reads;
                if reads {
                    both.drain(end, id, link);
                }
            }),
            Op::Finish { end, pick } => self.with(world, end, pick, |both, id, link| {
                both.sides[end].target = both.sides[end].written;
                both.finish(end, id, link);
            }),
            Op::Reset { end, pick, code, after_data } => self.with(world, end, pick, |both, id, link| {
                let code = ResetCode::Other(1000 + u32::from(code));
                let side = &mut both.sides[end];
                side.cut.get_or_insert(code);
                side.dropped |= !after_data;
                side.target = side.written;
                if after_data { link.reset_after_data(id, code) } else { link.reset(id, code) }
            }),
            Op::Stop { end, pick } => self.with(world, end, pick, |both, id, link| {
                both.sides[end].stopped = true;
                link.stop(id);
            }),
            Op::Release { end, pick } => self.with(world, end, pick, |both, id, link| {
                both.release(end, id, link);
            }),
            Op::Associate { end } => {
                self.with_associations(world, end, None, |all, _, link| all.open(end, link))
            }
            Op::Datagram { end, pick, length } => {
                self.with_associations(world, end, Some(pick), |all, id, link| {
                    all.send(end, id, length, link)
                });
            }
            Op::Dissociate { end, pick, release } => {
                self.with_associations(world, end, Some(pick), |all, id, link| {
                    if release { all.release(end, id, link) } else { all.cut(end, id, link) }
                });
            }
            Op::Want(carriers) => world.want = carriers,
            Op::Cut { pick, how } => {
                let ids: Vec<_> = world.wires.keys().copied().collect();
                if let Some(id) = choose(&ids, pick) {
                    world.cut(id, how);
                }
            }
            Op::Retire { end, pick } => {
                let ids: Vec<_> = world.wires.keys().copied().collect();
                if let Some(id) = choose(&ids, pick) {
                    world.retire(end, id);
                }
            }
            Op::Blackout { how, time } => {
                for id in world.wires.keys().copied().collect::<Vec<_>>() {
                    world.cut(id, how);
                }
                world.redial_at = now + time;
                world.pass(self, time);
            }
            Op::Stick { pick, sender, time } => self.line(world, pick, |wire| {
                wire.lanes[sender].stuck_until = now + time;
            }),
            Op::Line { pick, sender, delay, rate } => self.line(world, pick, |wire| {
                (wire.lanes[sender].delay, wire.lanes[sender].rate) = (delay, rate);
            }),
            Op::Path { delay, chunk } => (world.path.delay, world.path.chunk) = (delay, chunk),
            Op::Freeze { end, time } => world.frozen_until[end] = now + time,
            Op::Restart if world.links[AGENT].is_some() && self.met => {
                self.restarted = true;
                world.restart_agent();
            }
            Op::Restart => {}
        }
        world.act(self);
    }

    fn line(&self, world: &mut World, pick: u8, change: impl FnOnce(&mut super::lane::Wire)) {
        let ids: Vec<_> = world.wires.keys().copied().collect();
        if let Some(id) = choose(&ids, pick) {
            world.wires.get_mut(&id).map(change);
        }
    }

    fn open(&mut self, world: &mut World, end: usize, call: bool) {
        // An agent that the client has not heard of may be forgotten, and its streams with it.
        if self.streams.len() >= 60 || end == AGENT && !self.met || world.frozen_until[end] > world.now {
            return;
        }
        let Some(link) = world.links[end].as_mut() else { return };
        let open = if call { Open::Call } else { dial() };
        match link.open(&open) {
            Ok(id) => {
                let mut both = Both { opener: end, call, ..Both::default() };
                both.sides[end].here = true;
                if call {
                    let side = &mut both.sides[end];
                    (side.target, side.finishes, side.drains) = (19, true, true);
                    both.drain(end, id, link);
                    both.push(end, id, link);
                }
                self.streams.insert(id, both);
            }
            // An agent that gave up before the client came behind its hello.
            Err(OpenFailure::Closed(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn answer(&mut self, world: &mut World, end: usize, pick: u8, accept: bool) {
        let awake = world.frozen_until[end] <= world.now;
        let Some(id) = choose(&self.pending[end], pick).filter(|_| awake) else { return };
        self.pending[end].retain(|pending| *pending != id);
        let (Some(both), Some(link)) = (self.streams.get_mut(&id), world.links[end].as_mut()) else { return };
        let side = &mut both.sides[end];
        side.answered = true;
        if accept {
            link.accept(id);
        } else if side.written == 0 && side.cut.is_none() && !side.finished {
            (side.refused, side.released) = (true, true);
            side.cut = Some(ResetCode::Cancelled);
            link.refuse(id, dice(id));
        } else {
            both.release(end, id, link);
        }
    }

    /// Does something with one of the streams that an end has, unless it sleeps.
    fn with(
        &mut self,
        world: &mut World,
        end: usize,
        pick: u8,
        act: impl FnOnce(&mut Both, StreamId, &mut Link),
    ) {
        if world.frozen_until[end] > world.now {
            return;
        }
        // One that was not answered is only answered.
        let usable = |id: &StreamId, both: &Both| both.usable(end) && !self.pending[end].contains(id);
        let ids: Vec<_> =
            self.streams.iter().filter(|(id, both)| usable(id, both)).map(|(id, _)| *id).collect();
        if let Some(id) = choose(&ids, pick)
            && let (Some(both), Some(link)) = (self.streams.get_mut(&id), world.links[end].as_mut())
        {
            act(both, id, link);
        }
    }

    /// Does something with one of the associations that an end has, or makes one, unless it sleeps.
    fn with_associations(
        &mut self,
        world: &mut World,
        end: usize,
        pick: Option<u8>,
        act: impl FnOnce(&mut Associations, StreamId, &mut Link),
    ) {
        let asleep = world.frozen_until[end] > world.now || end == AGENT && !self.met;
        let id = match pick {
            Some(pick) => self.associations.pick(end, pick),
            None => Some(0),
        };
        if let (Some(link), Some(id), false) = (world.links[end].as_mut(), id, asleep) {
            act(&mut self.associations, id, link);
        }
    }

    /// What an end holds is within what it was told it may hold.
    fn check_bounds(&self, world: &World) {
        for end in [CLIENT, AGENT] {
            let (stats, bounds) = (world.stats(end), self.bounds[end]);
            let within = |what: &str, held: u64, most: u64| {
                assert!(held <= most, "end {end} holds {held} bytes {what}, of {most}: {stats:?}");
            };
            within("received", stats.buffered, stats.credit);
            within("received or on their way", stats.credit, bounds.link_window);
            // 64 KiB of calls, and one turn beyond it.
            within("written", stats.queued, bounds.queued + (80 << 10));
            within("sent", stats.unacknowledged, bounds.unacknowledged + (32 << 10));
            within("of datagrams", stats.datagrams, 4 << 20);
            // A share for datagrams, too.
            let all = bounds.budget.max((1 << 20) + (128 << 10)) + (256 << 10);
            let held = stats.credit + stats.queued + stats.unacknowledged + stats.datagrams;
            within("in all", held, all + (80 << 10));
            within("of its budget", self.budgets[end].used(), all);
        }
    }

    /// All that is open is finished and read, by programs that follow events alone; then nothing is left.
    fn settle(&mut self, world: &mut World) {
        self.settling = true;
        world.frozen_until = [world.now; 2];
        world.redial_at = world.now;
        world.want = world.want.max(1);
        world.path.delay = Duration::from_millis(5);
        for wire in world.wires.values_mut() {
            for lane in &mut wire.lanes {
                (lane.rate, lane.stuck_until) = (0, world.now);
            }
        }
        for end in [CLIENT, AGENT] {
            while let Some(id) = self.pending[end].first().copied() {
                self.answer(world, end, 0, true);
                self.pending[end].retain(|pending| *pending != id);
            }
            for (id, both) in &mut self.streams {
                if let Some(link) = &mut world.links[end] {
                    both.kick(end, *id, link);
                }
            }
        }
        let settled = world.run_until_over(self, Duration::from_secs(120));
        if self.closed != [false; 2] {
            return self.end_lost(world);
        }
        let left: Vec<_> =
            self.streams.iter().filter(|(_, both)| !both.settled(CLIENT) || !both.settled(AGENT)).collect();
        assert!(
            settled,
            "these streams hang: {left:#?}\n{:?}\n{:?}",
            world.stats(CLIENT),
            world.stats(AGENT)
        );
        self.check_bounds(world);
        // What is said now arrives, sooner or later: nothing is cut any more.
        let mut rounds = 0;
        while !self.associations.alive(&mut world.links) {
            rounds += 1;
            assert!(rounds < 100, "datagrams do not arrive: {:#?}", self.associations);
            world.pass(self, Duration::from_secs(1));
            if self.closed != [false; 2] {
                return self.end_lost(world);
            }
        }
        self.over = true;
        self.associations.release_all(&mut world.links);
        for (id, both) in &mut self.streams {
            for end in [CLIENT, AGENT] {
                if let Some(link) = &mut world.links[end]
                    && both.usable(end)
                {
                    both.release(end, *id, link);
                }
            }
        }
        world.pass(self, Duration::from_secs(10));
        for end in [CLIENT, AGENT] {
            let stats = world.stats(end);
            let left = (stats.streams, stats.buffered, stats.queued, stats.unacknowledged, stats.datagrams);
            assert_eq!(left, (0, 0, 0, 0, 0), "end {end} is left with something");
            assert!(world.links[end].as_ref().is_none_or(Link::is_flushed), "end {end} is not flushed");
        }
    }

    /// The link was lost, as it had to be: both ends come to know, and every stream ends.
    fn end_lost(&mut self, world: &mut World) {
        self.settling = true;
        world.frozen_until = [world.now; 2];
        world.redial_at = world.now;
        world.want = world.want.max(1);
        world.pass(self, GRACE * 3);
        assert!(self.closed[CLIENT], "the client does not know that the link is lost");
        let gone = world.links[AGENT].as_ref().is_none_or(|agent| agent.close_reason().is_some());
        assert!(gone, "the agent does not know that the link is lost");
        assert_eq!(world.stats(CLIENT).queued, 0);
    }

    fn end_closed(&mut self, end: usize, link: &mut Link) {
        self.closed[end] = true;
        self.pending[end].clear();
        for (id, both) in &mut self.streams {
            both.lost = true;
            if both.usable(end) {
                // Nobody tells each stream: its reader looks, and finds an end.
                both.drain(end, *id, link);
                assert!(both.settled(end), "stream {id} has no end at {end} on a closed link");
                both.release(end, *id, link);
            }
        }
        self.associations.closed(end, link);
        assert_eq!(link.stats().streams, 0, "streams are left on a closed link");
        assert_eq!(link.poll_timeout(), None);
    }
}

impl Programs for Model {
    fn event(&mut self, end: usize, event: Event, link: &mut Link) {
        if link.close_reason().is_some() {
            // It is so before it is told.
            self.streams.values_mut().for_each(|both| both.lost = true);
        }
        match event {
            Event::Incoming(id, open) if open.is_datagrams() => {
                assert_eq!(open, associations::open());
                self.associations.offered(end, id, link);
                if self.over {
                    self.associations.give_up(end, id, link);
                }
            }
            Event::Answered(id) | Event::Readable(id) | Event::Cut(id) if self.associations.is_one(id) => {
                self.associations.receive(end, id, link);
            }
            Event::Incoming(id, open) => {
                let both = self.streams.get_mut(&id).expect("only what was opened comes");
                assert_eq!(open, if both.call { Open::Call } else { dial() });
                let side = &mut both.sides[end];
                assert!(!std::mem::replace(&mut side.here, true), "stream {id} is offered twice");
                if self.over {
                    both.release(end, id, link);
                } else if both.call || self.settling {
                    side.answered = true;
                    side.drains = true;
                    link.accept(id);
                    both.drain(end, id, link);
                    if self.settling {
                        both.kick(end, id, link);
                    }
                } else {
                    self.pending[end].push(id);
                }
            }
            Event::Answered(id) => self.streams[&id].answered(id, link),
            Event::Readable(id) => {
                let both = self.streams.get_mut(&id).expect("only what was opened is readable");
                if both.sides[end].drains {
                    both.drain(end, id, link);
                }
            }
            Event::Writable(id) => {
                let both = self.streams.get_mut(&id).expect("only what was opened is writable");
                both.push(end, id, link);
            }
            Event::Cut(id) => {
                let both = self.streams.get_mut(&id).expect("only what was opened is cut");
                if both.sides[end].drains {
                    both.drain(end, id, link);
                }
                both.push(end, id, link);
            }
            Event::CarrierUp(_) => self.met |= end == CLIENT,
            // The client never came behind its hello, and makes the link anew.
            Event::Closed if !self.met => {}
            Event::Closed => {
                let reason = link.close_reason().cloned();
                match reason {
                    Some(CloseReason::Lost) | Some(CloseReason::AgentRestarted(_)) => {}
                    other => panic!("end {end} is closed: {other:?}"),
                }
                self.end_closed(end, link);
            }
            _ => {}
        }
    }

    fn closed(&mut self, end: usize, barest: Duration) {
        // Some end was without a carrier for the whole of its grace, or another agent is there.
        assert!(self.restarted || barest >= GRACE, "end {end} gave up after {barest:?} without a carrier");
    }

    fn is_over(&self) -> bool {
        self.closed != [false; 2]
            || self.settling && self.streams.values().all(|both| both.settled(CLIENT) && both.settled(AGENT))
    }
}

impl Both {
    /// From now on this end finishes what it has to write and reads all there is, by events.
    fn kick(&mut self, end: usize, id: StreamId, link: &mut Link) {
        if !self.usable(end) {
            return;
        }
        let side = &mut self.sides[end];
        side.drains = !side.stopped;
        side.finishes |= !self.call || end == self.opener;
        self.push(end, id, link);
        if self.sides[end].drains {
            self.drain(end, id, link);
        }
    }

    fn release(&mut self, end: usize, id: StreamId, link: &mut Link) {
        let answered = link.opened(id) == Some(Ok(())) || end != self.opener;
        let side = &mut self.sides[end];
        side.released = true;
        side.dropped |= !side.finished && side.cut.is_none();
        side.cut.get_or_insert(if answered || side.finished {
            ResetCode::Dropped
        } else {
            ResetCode::Cancelled
        });
        link.release(id);
    }
}

fn dial() -> Open {
    Open::Dial { host: "db".into(), port: 1, deadline: Duration::ZERO }
}

fn choose<T: Copy>(all: &[T], pick: u8) -> Option<T> {
    all.get(usize::from(pick).checked_rem(all.len())?).copied()
}
