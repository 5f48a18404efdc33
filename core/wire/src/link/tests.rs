//! Two ends back to back: bytes in queues, time as told.

mod carriers;
mod chaos;
mod close;
mod datagrams;
mod flow;
mod line;
mod slow;
mod streams;

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::*;
use crate::{Frame, FrameReader, Open, code::ResetCode};

/// Both ends, the carriers between them, and the clock.
struct Pair {
    client: Link,
    agent: Option<Link>,
    config: LinkConfig,
    /// The name of the agent's process.
    incarnation: [u8; 16],
    now: Instant,
    wires: BTreeMap<CarrierId, Wire>,
    events: [Vec<Event>; 2],
    /// Most bytes one `poll_transmit` may take.
    max: usize,
}

/// What is under way on one carrier, to the agent and to the client.
#[derive(Default)]
struct Wire {
    to_agent: VecDeque<Bytes>,
    to_client: VecDeque<Bytes>,
    hello: Option<FrameReader>,
    joined: bool,
    /// Nothing gets through, and nobody knows.
    stuck: bool,
}

const CLIENT: usize = 0;
const AGENT: usize = 1;

fn config(role: Role) -> LinkConfig {
    LinkConfig::new(role)
}

/// A stream that is no call.
fn dial() -> Open {
    Open::Dial { host: "db".into(), port: 5432, deadline: Duration::ZERO }
}

impl Pair {
    fn new() -> Self {
        Self::with(config(Role::Client), config(Role::Gateway))
    }

    fn with(client: LinkConfig, agent: LinkConfig) -> Self {
        Self {
            client: Link::client(client, [1; 16], [2; 32], [3; 16]),
            agent: None,
            config: agent,
            incarnation: [9; 16],
            now: Instant::now(),
            wires: BTreeMap::new(),
            events: Default::default(),
            max: 32 << 10,
        }
    }

    /// A pair with so many carriers up.
    fn connected(carriers: usize) -> Self {
        let mut pair = Self::new();
        for _ in 0..carriers {
            pair.connect();
        }
        pair.run();
        assert_eq!(pair.client.live_carriers(), carriers);
        pair
    }

    fn connect(&mut self) -> CarrierId {
        let id = self.client.carrier_up(self.now).unwrap();
        self.wires.insert(id, Wire { hello: Some(FrameReader::default()), ..Wire::default() });
        id
    }

    /// Cuts a carrier; what is under way is lost, and both ends know.
    fn cut(&mut self, id: CarrierId) {
        self.wires.remove(&id);
        self.client.carrier_down(id, self.now);
        if let Some(agent) = &mut self.agent {
            agent.carrier_down(id, self.now);
        }
    }

    fn agent(&mut self) -> &mut Link {
        self.agent.as_mut().unwrap()
    }

    fn end(&mut self, end: usize) -> &mut Link {
        if end == CLIENT { &mut self.client } else { self.agent.as_mut().unwrap() }
    }

    /// Lets each end send once on each carrier. Returns whether anything moved.
    fn transmit(&mut self) -> bool {
        let mut moved = false;
        for (id, wire) in &mut self.wires {
            if wire.stuck {
                continue;
            }
            let mut out = BytesMut::new();
            if self.client.poll_transmit(*id, self.now, &mut out, self.max) {
                wire.to_agent.push_back(out.split().freeze());
                moved = true;
            }
            if let Some(agent) = &mut self.agent
                && agent.poll_transmit(*id, self.now, &mut out, self.max)
            {
                wire.to_client.push_back(out.split().freeze());
                moved = true;
            }
        }
        moved
    }

    /// Hands over the next bytes of one carrier in both directions.
    fn deliver(&mut self, id: CarrierId) -> bool {
        let Some(wire) = self.wires.get_mut(&id) else {
            return false;
        };
        if wire.stuck {
            return false;
        }
        let (to_agent, to_client) = (wire.to_agent.pop_front(), wire.to_client.pop_front());
        let moved = to_agent.is_some() || to_client.is_some();
        if let Some(bytes) = to_client {
            self.client.handle_input(id, bytes, self.now);
        }
        if let Some(bytes) = to_agent {
            self.input_agent(id, bytes);
        }
        moved
    }

    fn input_agent(&mut self, id: CarrierId, bytes: Bytes) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let Some(mut reader) = wire.hello.take() else {
            if wire.joined {
                let now = self.now;
                self.agent().handle_input(id, bytes, now);
            }
            return;
        };
        reader.push(bytes);
        let Some(frame) = reader.next_frame().unwrap() else {
            wire.hello = Some(reader);
            return;
        };
        let Frame::Hello(hello) = frame else { panic!("{frame:?}") };
        let now = self.now;
        let joined = match &mut self.agent {
            Some(agent) => agent.carrier_join(&hello, reader, now),
            None => Link::agent(self.config.clone(), &hello, self.incarnation).and_then(|mut agent| {
                let joined = agent.carrier_join(&hello, reader, now);
                self.agent = Some(agent);
                joined
            }),
        };
        match joined {
            Ok(joined) => {
                assert_eq!(joined, id);
                wire.joined = true;
                self.agent().handle_input(id, Bytes::new(), now);
            }
            Err(goodbye) => {
                let mut out = BytesMut::new();
                Frame::Goodbye(goodbye).encode(&mut out);
                wire.to_client.push_back(out.freeze());
            }
        }
    }

    /// Moves everything there is to move, without time passing.
    fn run(&mut self) {
        loop {
            let mut moved = self.transmit();
            for id in self.wires.keys().copied().collect::<Vec<_>>() {
                while self.deliver(id) {
                    moved = true;
                }
            }
            self.collect();
            if !moved {
                return;
            }
        }
    }

    fn collect(&mut self) {
        while let Some(event) = self.client.poll_event() {
            self.events[CLIENT].push(event);
        }
        while let Some(event) = self.agent.as_mut().and_then(Link::poll_event) {
            self.events[AGENT].push(event);
        }
        for end in [CLIENT, AGENT] {
            for event in &self.events[end] {
                if let Event::CarrierEnded(id, _) = event {
                    self.wires.remove(id);
                }
            }
        }
    }

    /// Lets time pass, with all that happens on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.run();
            let due = [self.client.poll_timeout(), self.agent.as_ref().and_then(Link::poll_timeout)];
            match due.into_iter().flatten().min().filter(|due| *due <= end) {
                Some(due) => self.now = self.now.max(due),
                None => break,
            }
            self.client.handle_timeout(self.now);
            if let Some(agent) = &mut self.agent {
                agent.handle_timeout(self.now);
            }
        }
        self.now = end;
        self.run();
    }

    /// Opens a stream from one end and accepts it at the other.
    fn open(&mut self, from: usize) -> StreamId {
        self.open_as(from, &dial())
    }

    fn open_as(&mut self, from: usize, open: &Open) -> StreamId {
        let id = self.end(from).open(open).unwrap();
        self.run();
        self.end(1 - from).accept(id);
        self.run();
        assert_eq!(self.end(from).opened(id), Some(Ok(())));
        id
    }

    fn write(&mut self, end: usize, id: StreamId, bytes: &[u8]) {
        assert_eq!(self.end(end).write_slice(id, bytes), Ok(bytes.len()));
    }

    fn read(&mut self, end: usize, id: StreamId) -> Vec<u8> {
        let mut all = Vec::new();
        while let Ok(Read::Chunk(bytes)) = self.end(end).read(id, usize::MAX) {
            all.extend_from_slice(&bytes);
        }
        all
    }

    /// How many events of an end are like this one.
    fn count(&self, end: usize, like: impl Fn(&Event) -> bool) -> usize {
        self.events[end].iter().filter(|event| like(event)).count()
    }

    /// Moves `bytes` through a stream while the carriers are treated by `disturb` after each step.
    fn transfer(
        &mut self,
        from: usize,
        id: StreamId,
        bytes: &[u8],
        mut disturb: impl FnMut(&mut Self, usize),
    ) {
        let (mut written, mut got, mut step) = (0, Vec::new(), 0);
        let mut finished = false;
        while got.len() < bytes.len() {
            if written < bytes.len() {
                written += self.end(from).write_slice(id, &bytes[written..]).unwrap();
            } else if !std::mem::replace(&mut finished, true) {
                self.end(from).finish(id);
            }
            let mut moved = self.transmit();
            for carrier in self.wires.keys().copied().collect::<Vec<_>>() {
                moved |= self.deliver(carrier);
            }
            disturb(self, step);
            self.collect();
            let before = got.len();
            got.extend(self.read(1 - from, id));
            step += 1;
            // Each step takes its time; when nothing is under way, more of it.
            let idle = !moved && got.len() == before;
            self.now += Duration::from_millis(if idle { 30 } else { 10 });
            for end in [CLIENT, AGENT] {
                let now = self.now;
                self.end(end).handle_timeout(now);
            }
            assert!(step < 20_000, "nothing moves any more: {} of {}", got.len(), bytes.len());
        }
        assert!(got == bytes, "the bytes are not the same");
        self.end(from).finish(id);
        self.pass(Duration::from_millis(30));
        assert_eq!(self.end(1 - from).read(id, 1), Ok(Read::End));
    }
}

/// Bytes that do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
