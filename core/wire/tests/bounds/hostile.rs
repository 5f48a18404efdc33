//! Peers that want an end to hold more than it may, by frames that are not forbidden. The end is one with the defaults of an
//! agent, its programs take streams and stop there, and its carriers are never ready to send unless said otherwise.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kubetether_wire::{
    Event, Frame, FrameReader, Goodbye, GoodbyeCode, Hello, Link, LinkConfig, Open, ResetCode, Role, StreamId,
};

use crate::counting::most;

/// An agent's end and what is about to come.
struct Victim {
    link: Link,
    now: Instant,
    bytes: BytesMut,
    offered: Vec<StreamId>,
    /// It can send, and what it sends is thrown away.
    sends: bool,
}

/// What a carrier brings at once.
const INPUT: usize = 16 << 10;
/// The default budget of all bytes, and the buffers that parts of them may keep alive.
const BUDGET: isize = 64 << 20;
const KEPT_ALIVE: isize = 6 << 20;
/// Streams a peer may have, and what one costs beside its bytes.
const STREAMS: u64 = 16_384;
const STREAM: isize = 1024;
/// Where nothing but the input is needed.
const NOTHING: isize = 512 << 10;

impl Victim {
    fn new() -> Self {
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            role: Role::Client,
            incarnation: [3; 16],
            link: [1; 16],
            secret: Some([2; 32].into()),
            proof: None,
            carrier: 1,
            resuming: None,
            capabilities: u64::MAX >> 2,
            stream_credit: 1 << 40,
            link_credit: 1 << 50,
            max_streams: u32::MAX,
            heartbeat: Duration::from_secs(2),
            software: String::new(),
            who: String::new(),
        };
        let now = Instant::now();
        let mut link = Link::agent(LinkConfig::new(Role::Gateway), &hello, [9; 16]).unwrap();
        assert_eq!(link.carrier_join(&hello, FrameReader::default(), now), Ok(1));
        Self { link, now, bytes: BytesMut::new(), offered: Vec::new(), sends: false }
    }

    /// Says frames, as long as anybody listens.
    fn say(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            frame.encode(&mut self.bytes);
            if self.bytes.len() >= INPUT {
                self.flush();
            }
            if self.link.close_reason().is_some() {
                return;
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        let bytes = self.bytes.split().freeze();
        self.now += Duration::from_micros(50);
        self.link.handle_input(1, bytes, self.now);
        if self.link.poll_timeout().is_some_and(|at| at <= self.now) {
            self.link.handle_timeout(self.now);
        }
        while let Some(event) = self.link.poll_event() {
            if let Event::Incoming(id, _) = event {
                self.link.accept(id);
                self.offered.push(id);
            }
        }
        if self.sends {
            while self.link.poll_transmit(1, self.now, &mut BytesMut::new(), 32 << 10) {}
        }
    }
}

fn open(stream: StreamId) -> Frame {
    Frame::Open { stream, fields: Open::Call.encode().unwrap().into() }
}

fn data(stream: StreamId, offset: u64, length: usize) -> Frame {
    Frame::Data { stream, offset, bytes: Bytes::from(vec![7; length]) }
}

/// Runs an attack, and asserts that it makes the end hold at most so much.
fn attack(name: &str, bound: isize, run: impl FnOnce(&mut Victim)) {
    let held = most(|| run(&mut Victim::new()));
    println!("{name}: {held} bytes of {bound}");
    assert!(held <= bound, "{name} makes it hold {held} bytes, of {bound}");
}

#[test]
fn all_streams_there_may_be_with_all_their_bytes() {
    attack("all streams", BUDGET + KEPT_ALIVE + STREAMS as isize * STREAM, |victim| {
        // So that it tells of credit, which is used as soon as it is given.
        victim.sends = true;
        victim.say((1..=STREAMS).map(|stream| open(stream * 2)));
        for offset in (0..128 << 10).step_by(16 << 10) {
            for stream in 1..=STREAMS {
                let stats = victim.link.stats();
                if stats.buffered + (16 << 10) <= stats.credit {
                    victim.say([data(stream * 2, offset, 16 << 10)]);
                }
            }
        }
        let stats = victim.link.stats();
        assert_eq!(victim.link.close_reason(), None);
        assert_eq!(u64::from(stats.streams), STREAMS);
        // It is worth the name: all that is given was used.
        assert!(stats.buffered > 40 << 20, "only {} bytes came", stats.buffered);
    });
}

#[test]
fn more_streams_than_there_may_be() {
    attack("too many streams", STREAMS as isize * 3 * STREAM, |victim| {
        victim.say((1..=STREAMS * 4).map(|stream| open(stream * 2)));
        assert!(victim.offered.len() as u64 <= STREAMS);
    });
}

#[test]
fn streams_of_gaps() {
    attack("one byte in two", KEPT_ALIVE, |victim| {
        victim.say((1..=64).map(|stream| open(stream * 2)));
        let gaps = (1..=64_u64).flat_map(|stream| (0..3900).map(move |gap| data(stream * 2, gap * 2 + 1, 1)));
        victim.say(gaps);
        assert_eq!(victim.link.close_reason(), None);
    });
}

#[test]
fn gaps_in_turn() {
    attack("one byte in two of many streams", KEPT_ALIVE + 4096 * STREAM, |victim| {
        victim.say((1..=4096).map(|stream| open(stream * 2)));
        let gaps = (0..60_u64).flat_map(|gap| (1..=4096).map(move |stream| data(stream * 2, gap * 2 + 1, 1)));
        victim.say(gaps);
        assert_eq!(victim.link.close_reason(), None);
    });
}

/// Small parts of big inputs must not keep the inputs.
#[test]
fn a_byte_of_each_input() {
    attack("a byte of each input", KEPT_ALIVE, |victim| {
        victim.say((1..=4096).map(|stream| open(stream * 2)));
        for round in 0..4_u64 {
            for stream in 1..=1000 {
                victim.say([Frame::Ping(0)].into_iter().cycle().take(3000).chain([data(
                    stream * 2,
                    round,
                    1,
                )]));
            }
        }
        assert_eq!(victim.link.close_reason(), None);
    });
}

#[test]
fn a_peer_that_never_acknowledges() {
    attack("no acknowledgements", BUDGET, |victim| {
        victim.sends = true;
        victim.say((1..=256).map(|stream| open(stream * 2)));
        let chunk = vec![3; 64 << 10];
        for _ in 0..20 {
            for stream in victim.offered.clone() {
                let _ = victim.link.write_slice(stream, &chunk);
            }
            victim.say([Frame::Ping(1)]);
        }
        assert_eq!(victim.link.close_reason(), None);
    });
}

/// Datagrams are dropped where nobody reads them, and where nobody lets them go.
#[test]
fn associations_that_nobody_serves() {
    const ASSOCIATIONS: u64 = 4096;
    let bound = (4 << 20) + ASSOCIATIONS as isize * (STREAM + 256) + NOTHING;
    attack("associations", bound, |victim| {
        victim.sends = true;
        let open = Open::DialDatagrams { host: "dns".into(), port: 53, deadline: Duration::ZERO };
        let fields = Bytes::from(open.encode().unwrap());
        victim
            .say((1..=ASSOCIATIONS).map(|stream| Frame::Open { stream: stream * 2, fields: fields.clone() }));
        for length in [0, 10, 1200, 65_507] {
            let bytes = Bytes::from(vec![7; length]);
            for id in victim.offered.clone() {
                victim.link.send_datagram(id, bytes.clone()).unwrap();
                victim.say([Frame::Datagram { stream: id, bytes: bytes.clone() }]);
            }
        }
        let stats = victim.link.stats();
        assert_eq!(victim.link.close_reason(), None);
        assert!(stats.datagrams > 3 << 20 && stats.datagrams_dropped > 1000, "{stats:?}");
    });
}

#[test]
fn floods() {
    let flood = |name: &str, frame: fn(u64) -> Frame| {
        attack(name, NOTHING, |victim| {
            victim.say([open(2)]);
            victim.say((0..300_000).map(frame));
        });
    };
    flood("pings", Frame::Ping);
    flood("pongs", Frame::Pong);
    flood("credits", |turn| Frame::Credit { stream: turn % 2 * 2, limit: turn });
    flood("notices", |turn| {
        Frame::Goodbye(Goodbye::new(GoodbyeCode::from_number(64 + (turn % 1000) as u32), "x".repeat(1000)))
    });
    flood("draining", |_| Frame::Goodbye(Goodbye::new(GoodbyeCode::Draining, "x".repeat(1000))));
    flood("datagrams", |turn| Frame::Datagram { stream: turn + 1, bytes: Bytes::from(vec![7; 100]) });
    flood("acks", |turn| Frame::Ack { carrier: turn as u32 + 2, frames: turn, last: true });
    flood("opens again", |_| open(2));
    flood("data again", |_| data(2, 0, 8000));
    flood("fins again", |_| Frame::Fin { stream: 2, end: 0 });
    flood("resets again", |_| Frame::Reset { stream: 2, code: ResetCode::Reset, end: 0, deliver: 0 });
}

/// Streams that are opened and cut, while what they are answered with is never taken.
#[test]
fn opened_and_cut() {
    for sends in [true, false] {
        attack("opened and cut", 24 << 20, |victim| {
            victim.sends = sends;
            for stream in 1..=3_000_000_u64 {
                let id = stream * 2;
                let reset = Frame::Reset { stream: id, code: ResetCode::Reset, end: 0, deliver: 0 };
                victim.say([open(id), reset]);
                for id in victim.offered.drain(..) {
                    victim.link.release(id);
                }
                if victim.link.close_reason().is_some() {
                    break;
                }
            }
        });
    }
}

/// Every second stream stays away: what is over is remembered one by one.
#[test]
fn streams_that_leave_gaps() {
    attack("gaps between streams", 16 << 20, |victim| {
        victim.sends = true;
        for stream in 1..=200_000_u64 {
            let id = stream * 4;
            let reset = Frame::Reset { stream: id, code: ResetCode::Reset, end: 0, deliver: 0 };
            victim.say([reset]);
            if victim.link.close_reason().is_some() {
                break;
            }
        }
    });
}

/// A carrier reads on into what is left of a buffer, and hands on parts of it.
#[test]
fn parts_of_a_carriers_buffer() {
    const BUFFER: usize = 64 << 10;
    const LENGTH: u64 = 4200;
    let bound = (9 << 20) + KEPT_ALIVE + 2048 * STREAM;
    attack("a little of each buffer", bound, |victim| {
        victim.sends = true;
        victim.say((1..=2048).map(|stream| open(stream * 2)));
        let mut unread = 0;
        for round in 0.. {
            let stats = victim.link.stats();
            if stats.buffered + LENGTH > stats.credit || unread > 8 << 20 {
                break;
            }
            let mut buffer = BytesMut::with_capacity(BUFFER);
            let (stream, turn) = (round % 2048 + 1, round / 2048);
            data(stream * 2, turn * LENGTH, LENGTH as usize).encode(&mut buffer);
            unread += LENGTH;
            for _ in 0..BUFFER / INPUT {
                while buffer.len() < INPUT - 64 {
                    Frame::Ping(0).encode(&mut buffer);
                }
                victim.now += Duration::from_micros(50);
                victim.link.handle_input(1, buffer.split().freeze(), victim.now);
                while victim.link.poll_event().is_some() {}
                while victim.link.poll_transmit(1, victim.now, &mut BytesMut::new(), 32 << 10) {}
            }
        }
        assert_eq!(victim.link.close_reason(), None);
        assert!(victim.link.stats().buffered > 6 << 20, "{:?}", victim.link.stats());
    });
}

#[test]
fn more_bytes_than_the_link_has_credit_for() {
    let mut victim = Victim::new();
    victim.say((1..=600).map(|stream| open(stream * 2)));
    let offers = victim.offered.clone();
    let mut closed = false;
    for stream in 1..=600 {
        for offset in (0..128 << 10).step_by(INPUT) {
            let mut bytes = BytesMut::new();
            data(stream * 2, offset, INPUT).encode(&mut bytes);
            victim.link.handle_input(1, bytes.freeze(), victim.now);
            closed |= std::iter::from_fn(|| victim.link.poll_event()).any(|event| event == Event::Closed);
        }
    }
    assert!(closed && victim.link.close_reason().is_some());
    for stream in offers {
        victim.link.release(stream);
    }
    assert_eq!(victim.link.stats().buffered, 0);
}
