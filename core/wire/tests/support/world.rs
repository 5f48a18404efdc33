//! Two ends of a link, the carriers between them, and the clock: all simulated. Each end is driven as its contract says: by
//! events alone, and by the time it asks for.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use kubetether_wire::{
    CarrierId, CloseReason, Event, Frame, Goodbye, Hello, Link, LinkConfig, ProtocolError, Role, Stats,
};

use super::lane::{Break, Door, Path, Wire};

pub(crate) const CLIENT: usize = 0;
pub(crate) const AGENT: usize = 1;

/// The programs at both ends.
pub(crate) trait Programs {
    /// Something happened at an end. The link is the one of that end.
    fn event(&mut self, end: usize, event: Event, link: &mut Link);

    /// An end's link is closed; an end was without a carrier for at most `barest`.
    fn closed(&mut self, end: usize, barest: Duration) {
        let _ = (end, barest);
    }

    /// Whether there is nothing more to wait for.
    fn is_over(&self) -> bool {
        false
    }
}

/// May change what goes into a lane: the end that sends, the carrier, the bytes.
pub(crate) type Tap = Box<dyn FnMut(usize, CarrierId, &[u8]) -> Vec<u8>>;

/// Both ends and what is between them.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) links: [Option<Link>; 2],
    /// A link of the agent that is over, whose program does not know yet.
    retired: Option<Link>,
    agent_config: LinkConfig,
    /// The name of the agent's process.
    pub(crate) incarnation: [u8; 16],
    pub(crate) wires: BTreeMap<CarrierId, Wire>,
    /// How new carriers are.
    pub(crate) path: Path,
    /// How many carriers the client keeps up.
    pub(crate) want: usize,
    /// Not before this is a new carrier tried.
    pub(crate) redial_at: Instant,
    /// Ends that do nothing until then: their process is stopped, or the machine sleeps.
    pub(crate) frozen_until: [Instant; 2],
    pub(crate) tap: Option<Tap>,
    /// Most bytes one `poll_transmit` may take.
    pub(crate) max: usize,
    /// What the next new carriers are told about when they break.
    pub(crate) plan: Vec<Plan>,
    /// How the carriers of the plan break.
    pub(crate) breaking: Break,
    /// Since when each end has no carrier, and the longest time it had none.
    bare: [(Option<Instant>, Duration); 2],
    /// Calls of `handle_timeout` in the current second, by end.
    wakes: [(Instant, u32); 2],
    /// Carriers that were cut.
    pub(crate) cuts: u32,
    /// Whose turn it is to be asked first.
    turn: usize,
}

/// Where a carrier breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) carrier: CarrierId,
    /// The end that sends.
    pub(crate) sender: usize,
    /// So many bytes of it go in.
    pub(crate) at: u64,
}

/// How long the client waits before it tries another carrier.
const REDIAL: Duration = Duration::from_millis(20);
/// More timeouts than an end may ask for in one second: pings, acknowledgements and the pace of a few carriers.
const WAKES_MOST: u32 = 3000;

impl World {
    pub(crate) fn new(client: LinkConfig, agent: LinkConfig, want: usize) -> Self {
        let now = Instant::now();
        Self {
            now,
            links: [Some(Link::client(client, [1; 16], [2; 32], [3; 16])), None],
            retired: None,
            agent_config: agent,
            incarnation: [9; 16],
            wires: BTreeMap::new(),
            path: Path { delay: Duration::from_millis(2), chunk: usize::MAX },
            want,
            redial_at: now,
            frozen_until: [now; 2],
            tap: None,
            max: 32 << 10,
            plan: Vec::new(),
            breaking: Break { keep: [true; 2], told: [Some(Duration::ZERO); 2] },
            bare: [(None, Duration::ZERO); 2],
            wakes: [(now, 0); 2],
            cuts: 0,
            turn: 0,
        }
    }

    /// With defaults at both ends.
    pub(crate) fn plain(want: usize) -> Self {
        Self::new(LinkConfig::new(Role::Client), LinkConfig::new(Role::Gateway), want)
    }

    /// An end that is there.
    pub(crate) fn end(&mut self, end: usize) -> &mut Link {
        self.links[end].as_mut().expect("this end is there")
    }

    pub(crate) fn stats(&self, end: usize) -> Stats {
        self.links[end].as_ref().map(Link::stats).unwrap_or_default()
    }

    /// Carriers that are up, as each end sees it.
    pub(crate) fn live_carriers(&self) -> [usize; 2] {
        [CLIENT, AGENT].map(|end| self.links[end].as_ref().map_or(0, Link::live_carriers))
    }

    pub(crate) fn close_reason(&self, end: usize) -> Option<&CloseReason> {
        self.links[end].as_ref().and_then(Link::close_reason)
    }

    /// The longest time that an end had no carrier.
    pub(crate) fn barest(&self) -> Duration {
        let now = self.now;
        let barest =
            |(since, most): (Option<Instant>, Duration)| since.map_or(most, |since| most.max(now - since));
        barest(self.bare[CLIENT]).max(barest(self.bare[AGENT]))
    }

    /// Runs until the programs are over, at most `most` of simulated time. Returns whether they are.
    pub(crate) fn run_until_over(&mut self, programs: &mut impl Programs, most: Duration) -> bool {
        let end = self.now + most;
        self.act(programs);
        while !programs.is_over()
            && let Some(next) = self.next_at().filter(|next| *next <= end)
        {
            self.now = self.now.max(next);
            self.act(programs);
        }
        programs.is_over()
    }

    /// Lets time pass, with all that happens on the way.
    pub(crate) fn pass(&mut self, programs: &mut impl Programs, time: Duration) {
        let end = self.now + time;
        self.act(programs);
        while let Some(next) = self.next_at().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.act(programs);
        }
        self.now = end;
        self.act(programs);
    }

    /// Cuts a carrier.
    pub(crate) fn cut(&mut self, id: CarrierId, how: Break) {
        let now = self.now;
        if let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.broken) {
            wire.shatter(how, now);
            self.cuts += 1;
        }
    }

    /// An end retires a carrier, if it is awake and has that one.
    pub(crate) fn retire(&mut self, end: usize, id: CarrierId) -> bool {
        let (now, awake) = (self.now, self.awake(end));
        let Some(link) = self.links[end].as_mut().filter(|link| awake && link.has_carrier(id)) else {
            return false;
        };
        link.retire(id, now);
        true
    }

    /// The agent's process ends, and another one takes its place.
    pub(crate) fn restart_agent(&mut self) {
        self.links[AGENT] = None;
        self.incarnation[0] = self.incarnation[0].wrapping_add(1);
        self.bare[AGENT].0 = None;
        let now = self.now;
        for wire in self.wires.values_mut() {
            wire.close(AGENT, now);
        }
    }

    /// Everything that is to be done now.
    pub(crate) fn act(&mut self, programs: &mut impl Programs) {
        let now = self.now;
        for end in [CLIENT, AGENT] {
            if self.awake(end) {
                self.time(end);
            }
        }
        let mut turns = 0;
        loop {
            let mut moved = self.redial();
            moved |= self.deliver();
            moved |= self.tell();
            moved |= self.transmit();
            moved |= self.events(programs);
            if !moved {
                break;
            }
            turns += 1;
            assert!(turns < 100_000, "the ends never come to rest");
        }
        self.wires.retain(|_, wire| wire.done != [true; 2]);
        for end in [CLIENT, AGENT] {
            let live = self.links[end].as_ref().map(Link::live_carriers);
            let (since, most) = &mut self.bare[end];
            if live != Some(0) {
                if let Some(since) = since.take() {
                    *most = (*most).max(now - since);
                }
            } else if since.is_none() {
                *since = Some(now);
            }
        }
        self.check_output();
    }

    fn awake(&self, end: usize) -> bool {
        self.frozen_until[end] <= self.now
    }

    /// When something is to be done next.
    fn next_at(&self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut consider = |at: Option<Instant>| next = next.into_iter().chain(at).min();
        let awake = [CLIENT, AGENT].map(|end| self.awake(end));
        for end in [CLIENT, AGENT] {
            if awake[end] {
                consider(self.links[end].as_ref().and_then(Link::poll_timeout));
            } else {
                consider(Some(self.frozen_until[end]));
            }
        }
        for wire in self.wires.values() {
            consider(wire.next_at(awake));
        }
        let short = self.live() < self.want && self.close_reason(CLIENT).is_none();
        consider((short && awake[CLIENT]).then_some(self.redial_at));
        next
    }

    /// Carriers as far as the client knows.
    fn live(&self) -> usize {
        self.wires.values().filter(|wire| !wire.done[CLIENT]).count()
    }

    fn redial(&mut self) -> bool {
        if !self.awake(CLIENT) || self.live() >= self.want || self.redial_at > self.now {
            return false;
        }
        let now = self.now;
        let Some(id) = self.end(CLIENT).carrier_up(now) else {
            self.redial_at = now + REDIAL;
            return false;
        };
        self.redial_at = now + if self.live() + 1 < self.want { Duration::ZERO } else { REDIAL };
        let mut path = self.path;
        // Each carrier has a pace of its own, so that they overtake each other.
        path.delay += path.delay * (id % 3) / 2;
        let mut wire = Wire::new(now, path);
        for plan in self.plan.iter().filter(|plan| plan.carrier == id) {
            wire.lanes[plan.sender].cut_at = Some(plan.at);
        }
        self.wires.insert(id, wire);
        true
    }

    fn time(&mut self, end: usize) {
        let now = self.now;
        let Some(link) = &mut self.links[end] else {
            return;
        };
        let mut turns = 0;
        while link.poll_timeout().is_some_and(|at| at <= now) {
            link.handle_timeout(now);
            turns += 1;
            assert!(turns <= 4, "end {end} asks for the time it has, again and again");
        }
        let (since, wakes) = &mut self.wakes[end];
        if now >= *since + Duration::from_secs(1) {
            (*since, *wakes) = (now, 0);
        }
        *wakes += turns;
        assert!(*wakes < WAKES_MOST, "end {end} wakes {wakes} times in a second");
    }

    fn deliver(&mut self) -> bool {
        let (now, mut moved) = (self.now, false);
        for id in self.ids() {
            for end in [CLIENT, AGENT] {
                while self.awake(end)
                    && let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.done[end])
                    && let Some(bytes) = wire.lanes[1 - end].pop(now)
                {
                    moved = true;
                    match (end, &wire.door) {
                        (CLIENT, _) => self.end(CLIENT).handle_input(id, bytes, now),
                        (_, Door::Joined) => {
                            if let Some(agent) = &mut self.links[AGENT] {
                                agent.handle_input(id, bytes, now);
                            }
                        }
                        (_, Door::Waiting(_)) => self.knock(id, bytes),
                        (_, Door::Closed) => {}
                    }
                }
            }
        }
        moved
    }

    /// Bytes for the agent on a carrier that has not said hello.
    fn knock(&mut self, id: CarrierId, bytes: Bytes) {
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let Door::Waiting(mut reader) = std::mem::replace(&mut wire.door, Door::Closed) else { return };
        reader.push(bytes);
        let goodbye = match reader.next_frame() {
            Ok(None) => {
                wire.door = Door::Waiting(reader);
                return;
            }
            Ok(Some(Frame::Hello(hello))) => match self.join(id, &hello, reader) {
                Ok(()) => return,
                Err(goodbye) => goodbye,
            },
            Err(ProtocolError::Hello(goodbye)) => goodbye,
            other => panic!("no hello: {other:?}"),
        };
        self.turn_away(id, goodbye);
    }

    fn join(
        &mut self,
        id: CarrierId,
        hello: &Hello,
        reader: kubetether_wire::FrameReader,
    ) -> Result<(), Goodbye> {
        // The table of an agent holds no link that is over.
        if let Some(over) = self.links[AGENT].take_if(|agent| agent.close_reason().is_some()) {
            self.retired = Some(over);
        }
        if self.links[AGENT].is_none() {
            self.links[AGENT] = Some(Link::agent(self.agent_config.clone(), hello, self.incarnation)?);
        }
        let now = self.now;
        let agent = self.end(AGENT);
        assert_eq!(agent.carrier_join(hello, reader, now)?, id);
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.door = Door::Joined;
        }
        self.end(AGENT).handle_input(id, Bytes::new(), now);
        Ok(())
    }

    fn turn_away(&mut self, id: CarrierId, goodbye: Goodbye) {
        let mut out = BytesMut::new();
        Frame::Goodbye(goodbye).encode(&mut out);
        self.put(AGENT, id, &out);
        let now = self.now;
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.close(AGENT, now);
        }
    }

    /// Tells ends of carriers that are over.
    fn tell(&mut self) -> bool {
        let (now, mut moved) = (self.now, false);
        for id in self.ids() {
            for end in [CLIENT, AGENT] {
                let awake = self.awake(end);
                let Some(wire) = self.wires.get_mut(&id) else { continue };
                if awake && !wire.done[end] && wire.over_at(end).is_some_and(|at| at <= now) {
                    wire.close(end, now);
                    moved = true;
                    if let Some(link) = &mut self.links[end] {
                        link.carrier_down(id, now);
                    }
                    if end == CLIENT {
                        self.redial_at = self.redial_at.max(now + REDIAL);
                    }
                }
            }
        }
        moved
    }

    fn transmit(&mut self) -> bool {
        let (now, max, mut moved) = (self.now, self.max, false);
        let mut ids = self.ids();
        let first = self.turn.checked_rem(ids.len()).unwrap_or(0);
        ids.rotate_left(first);
        for id in ids {
            for end in [CLIENT, AGENT] {
                let Some(wire) = self.wires.get(&id) else { continue };
                let joined = end == CLIENT || matches!(wire.door, Door::Joined);
                if wire.done[end]
                    || !joined
                    || !self.awake(end)
                    || !wire.broken && !wire.lanes[end].has_room()
                {
                    continue;
                }
                let Some(link) = &mut self.links[end] else { continue };
                let mut out = BytesMut::new();
                let sent = link.poll_transmit(id, now, &mut out, max);
                assert_eq!(sent, !out.is_empty(), "poll_transmit tells whether there was anything");
                assert!(out.len() <= max.max(Link::LEAST_TRANSMIT), "{} bytes at once", out.len());
                let finished = link.carrier_finished(id);
                if sent {
                    moved = true;
                    self.turn = id as usize;
                }
                self.put(end, id, &out);
                if finished && let Some(wire) = self.wires.get_mut(&id) {
                    wire.close(end, now);
                    moved = true;
                    if let Some(link) = self.links[end].as_mut().filter(|link| link.close_reason().is_none())
                    {
                        link.carrier_down(id, now);
                    }
                }
            }
        }
        moved
    }

    /// Puts bytes on the line.
    fn put(&mut self, end: usize, id: CarrierId, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let bytes = match &mut self.tap {
            Some(tap) => Bytes::from(tap(end, id, bytes)),
            None => Bytes::copy_from_slice(bytes),
        };
        let (now, how) = (self.now, self.breaking);
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| !wire.broken) else { return };
        if !wire.lanes[end].push(bytes, now) {
            self.cut(id, how);
        }
    }

    fn events(&mut self, programs: &mut impl Programs) -> bool {
        let (now, mut moved) = (self.now, false);
        if let Some(mut over) = self.retired.take() {
            while let Some(event) = over.poll_event() {
                programs.event(AGENT, event, &mut over);
            }
        }
        for end in [CLIENT, AGENT] {
            if !self.awake(end) {
                continue;
            }
            while let Some(event) = self.links[end].as_mut().and_then(Link::poll_event) {
                moved = true;
                if let Event::CarrierEnded(id, _) = &event {
                    if let Some(wire) = self.wires.get_mut(id) {
                        wire.close(end, now);
                    }
                    if end == CLIENT {
                        self.redial_at = self.redial_at.max(now + REDIAL);
                    }
                }
                if let Event::CarrierUp(id) = event
                    && let Some(wire) = self.wires.get_mut(&id).filter(|_| end == CLIENT)
                {
                    wire.hello_by = None;
                }
                if event == Event::Closed {
                    programs.closed(end, self.barest());
                }
                programs.event(end, event, self.end(end));
            }
        }
        moved
    }

    /// What an end says that it has to send, it sends when asked: a driver would spin otherwise.
    fn check_output(&self) {
        for end in [CLIENT, AGENT].into_iter().filter(|end| self.awake(*end)) {
            let Some(link) = &self.links[end] else { continue };
            // Without a carrier nobody asks.
            let mut all_free = link.live_carriers() > 0;
            for (id, wire) in
                self.wires.iter().filter(|(id, wire)| !wire.done[end] && link.carrier_is_up(**id))
            {
                let free = wire.lanes[end].has_room();
                assert!(!free || !link.carrier_has_output(*id), "end {end} keeps what is for carrier {id}");
                all_free &= free;
            }
            assert!(!all_free || !link.has_output(), "end {end} has output and gives it to no carrier");
        }
    }

    fn ids(&self) -> Vec<CarrierId> {
        self.wires.keys().copied().collect()
    }
}
