//! A hostile peer that knows the protocol: frames that can be read, in any order, with any numbers, on any carrier.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kubetether_wire::{
    Event, Frame, FrameReader, Goodbye, GoodbyeCode, Link, Open, Read, Refusal, RefusalCode, ResetCode, Role,
    StreamId,
};

use super::doors::{agent, check, client, drain, drain_carrier, encoded, hello, wait};

/// Something a peer, or the program here, does: four bytes each.
#[derive(Debug)]
enum Act {
    Say(Frame),
    /// A frame of a kind that is not known.
    Unknown {
        kind: u8,
        length: usize,
    },
    /// Acknowledges what came, and so many more.
    Ack {
        carrier: u32,
        more: u64,
        last: bool,
    },
    Open {
        stream: u64,
        kind: u8,
    },
    Local {
        stream: u64,
        what: u8,
        length: usize,
    },
    Pass(Duration),
    CarrierDown(u32),
    CarrierUp,
    Retire(u32),
}

/// Numbers that are small, near a window, near a limit, or enormous.
const OFFSETS: [u64; 16] = [
    0,
    1,
    2,
    3,
    100,
    1000,
    16_383,
    16_384,
    16_385,
    20_000,
    32_767,
    32_768,
    65_536,
    131_072,
    1 << 40,
    (1 << 62) - 1,
];

impl Act {
    fn decode([kind, stream, a, b]: [u8; 4]) -> Self {
        let stream = u64::from(stream & 63);
        let offset = OFFSETS[usize::from(a >> 4)] + u64::from(a & 15);
        let length = [1, 2, 100, 1000, 8192, 16_384, 32_768, 3][usize::from(b & 7)];
        let end = OFFSETS[usize::from(b >> 4)] + u64::from(b & 15);
        match kind {
            0..60 => Self::Say(Frame::Data { stream, offset, bytes: Bytes::from(vec![7; length]) }),
            60..90 => Self::Open { stream, kind: b },
            90..100 => Self::Say(Frame::Opened(stream)),
            100..110 => {
                Self::Say(Frame::Refuse { stream, refusal: Refusal::new(RefusalCode::Refused, "no") })
            }
            110..125 => Self::Say(Frame::Credit { stream, limit: offset }),
            125..140 => Self::Say(Frame::Fin { stream, end: offset }),
            140..155 => {
                let code = ResetCode::from_number(u32::from(b));
                Self::Say(Frame::Reset { stream, code, end: offset, deliver: end.min(offset) })
            }
            155..165 => Self::Say(Frame::Datagram { stream, bytes: Bytes::from(vec![7; length]) }),
            165..170 => Self::Say(Frame::Ping(offset)),
            170..175 => Self::Say(Frame::Pong(offset)),
            175..178 => Self::Say(Frame::Goodbye(Goodbye::new(GoodbyeCode::from_number(u32::from(b)), "so"))),
            178..195 => Self::Ack {
                carrier: u32::from(a & 7),
                more: u64::from(a & 8 != 0 && b & 1 == 0) * u64::from(b),
                last: b & 8 != 0,
            },
            195..199 => Self::Unknown { kind: b.max(7), length },
            199 => Self::Say(Frame::Clock(offset << (b & 31))),
            200..240 => Self::Local { stream, what: b, length },
            240..246 => Self::Pass(Duration::from_millis(u64::from(a) * u64::from(b & 15))),
            246..250 => Self::CarrierDown(u32::from(a & 7)),
            250..254 => Self::CarrierUp,
            254 => Self::Retire(u32::from(a & 7)),
            _ => Self::Say(Frame::Hello(Box::new(hello(Role::Client, u32::from(a))))),
        }
    }
}

/// The one who is attacked.
struct Victim {
    link: Link,
    now: Instant,
    /// Frames to acknowledge that came on each carrier.
    kept: [u64; 8],
    is_client: bool,
}

/// A sequence of acts against one end; the first byte chooses which, the lower bits on which carrier each is said.
pub(crate) fn peer(data: &[u8]) {
    let Some((choice, acts)) = data.split_first() else { return };
    let now = Instant::now();
    let is_client = choice & 1 == 0;
    let link = if is_client { client(now, true) } else { agent(now) };
    let mut victim = Victim { link, now, kept: [0; 8], is_client };
    for four in acts.as_chunks().0.iter().take(2000) {
        if victim.link.close_reason().is_some() {
            break;
        }
        victim.suffer(Act::decode(*four), u32::from(four[1] >> 6) + 1);
        victim.look();
    }
    victim.link.close(GoodbyeCode::Closed, "");
    victim.look();
    assert_eq!(victim.link.poll_timeout(), None);
    assert!(!victim.link.has_output());
}

impl Victim {
    fn suffer(&mut self, act: Act, carrier: u32) {
        let carrier = if self.link.carrier_is_up(carrier) { carrier } else { 1 };
        match act {
            Act::Say(frame) => self.say(carrier, encoded(&frame)),
            Act::Unknown { kind, length } => {
                let mut out = BytesMut::new();
                out.put_u32(u32::from(kind) << 24 | length as u32);
                out.put_bytes(0, length);
                self.say(carrier, out.freeze());
            }
            Act::Ack { carrier: about, more, last } => {
                let frames = self.kept[about as usize] + more;
                self.say(carrier, encoded(&Frame::Ack { carrier: about, frames, last }));
            }
            Act::Open { stream, kind } => {
                let (from, to) = (([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into());
                let open = match kind % 4 {
                    _ if kind >= 208 => Open::InboundDatagrams { port: 1, from, to },
                    _ if kind >= 160 => {
                        Open::DialDatagrams { host: "dns".into(), port: 53, deadline: Duration::ZERO }
                    }
                    0 => Open::Call,
                    1 => Open::Dial { host: "db".into(), port: 1, deadline: Duration::ZERO },
                    2 => Open::Unknown(u32::from(kind)),
                    _ => Open::Inbound { port: 1, from, to },
                };
                let fields = open.encode().expect("a host that is short").into();
                self.say(carrier, encoded(&Frame::Open { stream, fields }));
            }
            Act::Local { stream, what, length } => self.local(stream, what, length),
            Act::Pass(time) => self.pass(time),
            Act::CarrierDown(id) => self.link.carrier_down(id, self.now),
            Act::Retire(id) => self.link.retire(id, self.now),
            Act::CarrierUp if self.is_client => {
                if let Some(id) = self.link.carrier_up(self.now).filter(|id| *id < 8) {
                    self.look();
                    self.say(id, encoded(&Frame::Hello(Box::new(hello(Role::Gateway, id)))));
                }
            }
            Act::CarrierUp => {
                let id = (1..8).find(|id| self.kept[*id as usize] == 0 && !self.link.has_carrier(*id));
                let hello = hello(Role::Client, id.unwrap_or(1));
                let _ = self.link.carrier_join(&hello, FrameReader::default(), self.now);
            }
        }
    }

    fn say(&mut self, carrier: u32, bytes: Bytes) {
        self.link.handle_input(carrier, bytes, self.now);
    }

    /// What the program here does with a stream.
    fn local(&mut self, id: StreamId, what: u8, length: usize) {
        let link = &mut self.link;
        match what >> 4 {
            0 => {
                let _ = link.open(&Open::Call);
            }
            1..=2 => link.accept(id),
            3 => link.refuse(id, Refusal::new(RefusalCode::NotAllowed, "no")),
            4..=6 => {
                let _ = link.write_slice(id, &vec![3; length]);
            }
            7..=9 => {
                if let Ok(Read::Chunk(bytes)) = link.read(id, length) {
                    assert!(bytes.iter().all(|byte| *byte == 7), "bytes that were never said");
                }
            }
            10 => link.finish(id),
            11 => link.reset(id, ResetCode::Reset),
            12 => link.reset_after_data(id, ResetCode::Reset),
            13 => link.stop(id),
            14 => self.datagrams(id, what, length),
            _ => link.release(id),
        }
    }

    /// What it does with an association.
    fn datagrams(&mut self, id: StreamId, what: u8, length: usize) {
        let link = &mut self.link;
        match what & 3 {
            0 => {
                let open = Open::DialDatagrams { host: "dns".into(), port: 53, deadline: Duration::ZERO };
                let _ = link.open(&open);
            }
            1 => {
                let _ = link.send_datagram(id, vec![3; length * 2].into());
            }
            _ => {
                while let Ok(Some(bytes)) = link.receive_datagram(id) {
                    assert!(bytes.iter().all(|byte| *byte == 7), "a datagram that was never said");
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        wait(&mut self.link, &mut self.now, end);
    }

    /// Takes what it says and tells, and looks that it holds no more than it may.
    fn look(&mut self) {
        let mut told = 0;
        while let Some(event) = self.link.poll_event() {
            told += 1;
            assert!(told < 10_000, "it never stops to tell");
            assert!(event != Event::Closed || self.link.close_reason().is_some());
        }
        check(&self.link);
        for id in 1..8 {
            if self.link.has_carrier(id) {
                self.kept[id as usize] += kept(&mut self.link, id, self.now);
            }
        }
        let _ = drain(&mut self.link, self.now);
    }
}

/// Takes what an end has for one carrier; returns how many of the frames are to be acknowledged.
fn kept(link: &mut Link, id: u32, now: Instant) -> u64 {
    let counts = |frame: &Frame| {
        matches!(
            frame,
            Frame::Open { .. }
                | Frame::Opened(_)
                | Frame::Refuse { .. }
                | Frame::Data { .. }
                | Frame::Credit { .. }
                | Frame::Fin { .. }
                | Frame::Reset { .. }
        )
    };
    drain_carrier(link, id, now).iter().filter(|frame| counts(frame)).count() as u64
}
