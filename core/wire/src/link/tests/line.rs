//! Two ends and what lies between: carriers over a line that takes its time and bears so much a second, by the millisecond.

use super::*;

/// What one end sends to the other on one carrier.
#[derive(Default)]
struct Way {
    /// In the sender's socket.
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Beyond the narrow place, with the time of arrival.
    air: VecDeque<(Instant, Bytes)>,
    /// Bytes each millisecond; `None`: as many as come.
    rate: Option<usize>,
    /// What may still pass in this millisecond.
    tokens: usize,
    /// Nothing gets through any more.
    dead: bool,
}

pub(super) struct Line {
    pub(super) ends: [Link; 2],
    pub(super) now: Instant,
    /// To the agent, to the client.
    carriers: BTreeMap<CarrierId, [Way; 2]>,
    delay: Duration,
    /// Bytes each millisecond and direction, over all carriers.
    rate: Option<usize>,
    tokens: [usize; 2],
    first: usize,
    pub(super) events: [Vec<Event>; 2],
    /// Most bytes in the carriers' sockets together, after the narrow place is full.
    pub(super) most_queued: usize,
    /// Sent by each end.
    pub(super) messages: [usize; 2],
}

/// What a socket takes before it is full.
const SOCKET: usize = 4 << 20;

impl Line {
    /// So many carriers over a line with a round trip of `rtt`.
    pub(super) fn new(configs: [LinkConfig; 2], carriers: usize, rtt: Duration) -> Self {
        let [client, agent] = configs;
        let now = Instant::now();
        let mut client = Link::client(client, [1; 16], [2; 32], [3; 16]);
        client.carrier_up(now).unwrap();
        let mut agent = Link::agent(agent, &client.hello(1), [9; 16]).unwrap();
        client.poll_transmit(1, now, &mut BytesMut::new(), 32 << 10);
        agent.carrier_join(&client.hello(1), FrameReader::default(), now).unwrap();
        let mut line = Self {
            ends: [client, agent],
            now,
            carriers: BTreeMap::from([(1, Default::default())]),
            delay: rtt / 2,
            rate: None,
            tokens: [0; 2],
            first: 0,
            events: Default::default(),
            most_queued: 0,
            messages: [0; 2],
        };
        for _ in 1..carriers {
            line.connect();
        }
        line.run(rtt * 4 + Duration::from_millis(10));
        assert_eq!(line.ends[CLIENT].live_carriers(), carriers);
        line
    }

    /// The usual ends.
    pub(super) fn usual(carriers: usize, rtt: Duration) -> Self {
        Self::new([config(Role::Client), config(Role::Gateway)], carriers, rtt)
    }

    fn connect(&mut self) {
        let id = self.ends[CLIENT].carrier_up(self.now).unwrap();
        let hello = self.ends[CLIENT].hello(id);
        self.ends[CLIENT].poll_transmit(id, self.now, &mut BytesMut::new(), 32 << 10);
        self.ends[AGENT].carrier_join(&hello, FrameReader::default(), self.now).unwrap();
        self.carriers.insert(id, Default::default());
    }

    pub(super) fn set_rtt(&mut self, rtt: Duration) {
        self.delay = rtt / 2;
    }

    /// What all carriers together bear each second and direction.
    pub(super) fn set_rate(&mut self, bytes: Option<usize>) {
        self.rate = bytes.map(|bytes| bytes / 1000);
    }

    /// What each carrier bears by itself.
    pub(super) fn set_carrier_rate(&mut self, carrier: CarrierId, bytes: Option<usize>) {
        for way in self.carriers.get_mut(&carrier).unwrap() {
            way.rate = bytes.map(|bytes| bytes / 1000);
        }
    }

    /// From now on nothing gets through on this carrier, and nobody is told.
    pub(super) fn blackhole(&mut self, carrier: CarrierId, dead: bool) {
        for way in self.carriers.get_mut(&carrier).unwrap() {
            way.dead = dead;
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.run_with(time, |_| {});
    }

    /// Lets time pass; `act` is what the programs at both ends do each millisecond.
    pub(super) fn run_with(&mut self, time: Duration, mut act: impl FnMut(&mut Self)) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(1);
            self.arrive();
            for end in &mut self.ends {
                if end.poll_timeout().is_some_and(|due| due <= self.now) {
                    end.handle_timeout(self.now);
                }
            }
            act(self);
            self.depart();
            for (end, events) in self.ends.iter_mut().zip(&mut self.events) {
                while let Some(event) = end.poll_event() {
                    events.push(event);
                }
            }
        }
    }

    fn arrive(&mut self) {
        for (id, ways) in &mut self.carriers {
            for (way, to) in ways.iter_mut().zip([AGENT, CLIENT]) {
                while let Some((_, bytes)) = way.air.pop_front_if(|(due, _)| *due <= self.now) {
                    self.ends[to].handle_input(*id, bytes, self.now);
                }
            }
        }
    }

    fn depart(&mut self) {
        for (id, ways) in &mut self.carriers {
            for (way, from) in ways.iter_mut().zip([CLIENT, AGENT]) {
                let mut out = BytesMut::new();
                while way.queued < SOCKET && self.ends[from].poll_transmit(*id, self.now, &mut out, 64 << 10)
                {
                    self.messages[from] += 1;
                    way.queued += out.len();
                    way.queue.push_back(out.split().freeze());
                }
                way.tokens = way.rate.unwrap_or(usize::MAX);
            }
        }
        for direction in [0, 1] {
            // Saved up for a little only.
            self.tokens[direction] = match self.rate {
                Some(rate) => self.tokens[direction].saturating_add(rate).min(rate * 5),
                None => usize::MAX,
            };
            loop {
                let mut moved = false;
                // In turn, a packet each, and none always first.
                self.first += 1;
                let (before, after): (Vec<_>, Vec<_>) =
                    self.carriers.values_mut().enumerate().partition(|(index, _)| *index < self.first % 4);
                for (_, ways) in after.into_iter().chain(before) {
                    let way = &mut ways[direction];
                    let most = 1460.min(way.tokens).min(self.tokens[direction]);
                    let Some(front) = way.queue.front_mut().filter(|_| most > 0 && !way.dead) else {
                        continue;
                    };
                    let bytes = if self.rate.is_none() && way.rate.is_none() {
                        std::mem::take(front)
                    } else {
                        front.split_to(most.min(front.len()))
                    };
                    if front.is_empty() {
                        way.queue.pop_front();
                    }
                    way.queued -= bytes.len();
                    way.tokens -= bytes.len().min(way.tokens);
                    self.tokens[direction] -= bytes.len().min(self.tokens[direction]);
                    way.air.push_back((self.now + self.delay, bytes));
                    moved = true;
                }
                if !moved {
                    break;
                }
            }
        }
        let queued = self.carriers.values().map(|ways| ways[0].queued + ways[1].queued).sum();
        self.most_queued = self.most_queued.max(queued);
    }

    /// Opens a stream of the client's that is no call.
    pub(super) fn open(&mut self) -> StreamId {
        let id = self.ends[CLIENT].open(&dial()).unwrap();
        for _ in 0..1000 {
            self.run(Duration::from_millis(1));
            self.ends[AGENT].accept(id);
            if self.ends[CLIENT].opened(id).is_some() {
                return id;
            }
        }
        panic!("not opened");
    }

    /// Writes as much as goes.
    pub(super) fn fill(&mut self, end: usize, id: StreamId) {
        while self.ends[end].write(id, &mut Bytes::from_static(&[7; 64 << 10])).unwrap() > 0 {}
    }

    /// Reads what is there.
    pub(super) fn drain(&mut self, end: usize, id: StreamId) -> usize {
        let mut all = 0;
        while let Ok(Read::Chunk(bytes)) = self.ends[end].read(id, usize::MAX) {
            all += bytes.len();
        }
        all
    }

    /// Bulk from one end, read as it comes. Returns how much arrived.
    pub(super) fn bulk(&mut self, from: usize, id: StreamId, time: Duration) -> usize {
        let mut got = 0;
        self.run_with(time, |line| {
            line.fill(from, id);
            got += line.drain(1 - from, id);
        });
        got
    }

    /// The time until one byte of the client's is answered on this stream, while `act` goes on.
    pub(super) fn ask(&mut self, id: StreamId, mut act: impl FnMut(&mut Self)) -> Duration {
        let start = self.now;
        assert_eq!(self.ends[CLIENT].write_slice(id, &[1; 100]), Ok(100));
        let (mut asked, mut answered) = (0, 0);
        while answered < 100 {
            self.run_with(Duration::from_millis(1), |line| {
                act(line);
                asked += line.drain(AGENT, id);
                if asked == 100 {
                    asked = 0;
                    assert_eq!(line.ends[AGENT].write_slice(id, &[2; 100]), Ok(100));
                }
                answered += line.drain(CLIENT, id);
            });
            assert!(self.now - start < Duration::from_secs(60), "no answer");
        }
        self.now - start
    }
}
