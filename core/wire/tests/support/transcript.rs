//! What two ends of one version said to each other, kept for ever; and an end of that version played from it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use kubetether_wire::{CarrierId, Frame, FrameReader, Link, LinkConfig, Role, StreamId};

use super::{
    raw,
    script::Script,
    world::{AGENT, CLIENT, Programs},
};

/// Something that happened between the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// An end said whole frames on a carrier.
    Said(usize, CarrierId, Vec<u8>),
    /// A carrier was lost, with both ends knowing.
    Lost(CarrierId),
}

/// Programs that can be played against.
pub(crate) trait Player: Programs {
    /// Opens what one end opens: the other one is not of this program.
    fn open_all(&mut self, end: usize, link: &mut Link);
}

impl Player for Script {
    fn open_all(&mut self, end: usize, link: &mut Link) {
        Self::open_all(self, end, link);
    }
}

/// The lines of a file.
pub(crate) fn parse(text: &str) -> Vec<Line> {
    let byte = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
    let line = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let (what, carrier) = (word(), word().parse().unwrap());
        match what {
            "client" => Line::Said(CLIENT, carrier, word().as_bytes().chunks(2).map(byte).collect()),
            "agent" => Line::Said(AGENT, carrier, word().as_bytes().chunks(2).map(byte).collect()),
            "lost" => Line::Lost(carrier),
            other => panic!("{other}"),
        }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

/// A file of lines.
pub(crate) fn write(lines: &[Line]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = match line {
            Line::Said(end, carrier, bytes) => {
                let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                });
                writeln!(text, "{} {carrier} {hex}", ["client", "agent"][*end])
            }
            Line::Lost(carrier) => writeln!(text, "lost {carrier}"),
        };
        text
    })
}

/// What an end has said in all: what counts when it is said in other pieces, twice, or later.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) hellos: BTreeMap<CarrierId, Vec<raw::Field>>,
    pub(crate) opens: BTreeMap<StreamId, Vec<raw::Field>>,
    pub(crate) answers: BTreeMap<StreamId, Vec<u8>>,
    pub(crate) bytes: BTreeMap<StreamId, BTreeMap<u64, u8>>,
    pub(crate) fins: BTreeMap<StreamId, u64>,
    /// Code, end, and what is delivered before.
    pub(crate) resets: BTreeMap<StreamId, (u64, u64, u64)>,
    pub(crate) goodbyes: Vec<Vec<u8>>,
    /// In their order.
    pub(crate) datagrams: BTreeMap<StreamId, Vec<Vec<u8>>>,
}

impl Sum {
    /// Adds frames, read by hand: it is the other version's rules that count.
    pub(crate) fn add(&mut self, carrier: CarrierId, bytes: &[u8]) {
        for (kind, mut body) in raw::frames(bytes) {
            match kind {
                raw::HELLO => {
                    assert_eq!(body[..10], *b"kubetether");
                    self.hellos.insert(carrier, raw::fields(&body[10..]));
                }
                raw::GOODBYE => self.goodbyes.push(body.to_vec()),
                raw::OPEN => {
                    let stream = raw::take(&mut body);
                    self.opens.insert(stream, raw::fields(body));
                }
                raw::OPENED | raw::REFUSE => {
                    let stream = raw::take(&mut body);
                    self.answers.insert(stream, body.to_vec());
                }
                raw::DATA => {
                    let (stream, offset) = (raw::take(&mut body), raw::take(&mut body));
                    let known = self.bytes.entry(stream).or_default();
                    for (at, byte) in (offset..).zip(body) {
                        assert_eq!(*known.entry(at).or_insert(*byte), *byte, "stream {stream} at {at}");
                    }
                }
                raw::DATAGRAM => {
                    let stream = raw::take(&mut body);
                    self.datagrams.entry(stream).or_default().push(body.to_vec());
                }
                raw::FIN => {
                    let stream = raw::take(&mut body);
                    self.fins.insert(stream, raw::take(&mut body));
                }
                raw::RESET => {
                    let stream = raw::take(&mut body);
                    let reset = (raw::take(&mut body), raw::take(&mut body), raw::take(&mut body));
                    self.resets.insert(stream, reset);
                }
                _ => {}
            }
        }
    }

    /// Whether everything of `other` has been said here.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let said = |stream: &StreamId| self.bytes.get(stream).map_or(0, BTreeMap::len);
        other.hellos.keys().all(|carrier| self.hellos.contains_key(carrier))
            && other.opens.keys().all(|stream| self.opens.contains_key(stream))
            && other.answers.keys().all(|stream| self.answers.contains_key(stream))
            && other
                .bytes
                .iter()
                .all(|(stream, bytes)| said(stream) >= bytes.len() || self.resets.contains_key(stream))
            && other.datagrams.iter().all(|(stream, datagrams)| {
                self.datagrams.get(stream).is_some_and(|said| said.len() >= datagrams.len())
            })
            && other.fins.keys().all(|stream| self.fins.contains_key(stream))
            && other.resets.keys().all(|stream| self.resets.contains_key(stream))
            && other.goodbyes.len() <= self.goodbyes.len()
    }
}

/// An end of this version against one that is played.
pub(crate) struct Play {
    end: usize,
    link: Option<Link>,
    now: Instant,
    config: LinkConfig,
    said: Sum,
    /// What the recorded end of the same side had said at this point.
    should: Sum,
    /// By carrier: how many frames to acknowledge were heard.
    heard: BTreeMap<CarrierId, u64>,
}

impl Play {
    /// Plays the other side of `end` while `script` drives it, and returns what it said and what it should have.
    pub(crate) fn run(lines: &[Line], end: usize, script: &mut impl Player) -> (Sum, Sum) {
        let mut play = Self {
            end,
            link: None,
            now: Instant::now(),
            config: LinkConfig::new(if end == CLIENT { Role::Client } else { Role::Gateway }),
            said: Sum::default(),
            should: Sum::default(),
            heard: BTreeMap::new(),
        };
        if end == CLIENT {
            let mut link = Link::client(play.config.clone(), [1; 16], [2; 32], [3; 16]);
            script.open_all(CLIENT, &mut link);
            play.link = Some(link);
        }
        for line in lines {
            match line {
                Line::Said(by, carrier, bytes) if *by == end => play.expect(*carrier, bytes, script),
                Line::Said(_, carrier, bytes) => play.say(*carrier, bytes, script),
                Line::Lost(carrier) => {
                    let now = play.now;
                    play.link().carrier_down(*carrier, now);
                    play.turn(script);
                }
            }
        }
        assert_eq!(play.link().close_reason(), None, "the session ends before its end");
        (play.said, play.should)
    }

    fn link(&mut self) -> &mut Link {
        self.link.as_mut().expect("the other end has said hello")
    }

    /// The recorded end of this side said something: this one must come to say as much.
    fn expect(&mut self, carrier: CarrierId, bytes: &[u8], script: &mut impl Player) {
        self.should.add(carrier, bytes);
        let now = self.now;
        if self.end == CLIENT && !self.said.hellos.contains_key(&carrier) && !self.link().has_carrier(carrier)
        {
            assert_eq!(self.link().carrier_up(now), Some(carrier), "carriers have other numbers");
        }
        let limit = self.now + Duration::from_secs(3);
        loop {
            self.turn(script);
            if self.said.covers(&self.should) {
                return;
            }
            let next = self.link().poll_timeout().filter(|at| *at <= limit);
            self.now =
                next.unwrap_or_else(|| panic!("{:#?}\nis not\n{:#?}", self.said, self.should)).max(self.now);
            let now = self.now;
            self.link().handle_timeout(now);
        }
    }

    /// The played end says what it said then. How often this end was pinged, and how many frames it made of the same bytes, is
    /// its own matter: ACK and PONG are not those of the record.
    fn say(&mut self, carrier: CarrierId, bytes: &[u8], script: &mut impl Player) {
        let mut out = Vec::new();
        for (kind, body) in raw::frames(bytes) {
            if kind != raw::ACK && kind != raw::PONG {
                raw::put(&mut out, kind, body);
            }
        }
        if self.end == AGENT && raw::frames(bytes).first().is_some_and(|(kind, _)| *kind == raw::HELLO) {
            self.join(carrier, &out, script);
        } else if !out.is_empty() {
            let now = self.now;
            self.link().handle_input(carrier, out.into(), now);
        }
        self.turn(script);
    }

    fn join(&mut self, carrier: CarrierId, bytes: &[u8], script: &mut impl Player) {
        let mut reader = FrameReader::default();
        reader.push(Bytes::copy_from_slice(bytes));
        let Ok(Some(Frame::Hello(hello))) = reader.next_frame() else { panic!("no hello") };
        let now = self.now;
        let first = self.link.is_none();
        let link =
            self.link.get_or_insert_with(|| Link::agent(self.config.clone(), &hello, [9; 16]).unwrap());
        assert_eq!(link.carrier_join(&hello, reader, now), Ok(carrier));
        link.handle_input(carrier, Bytes::new(), now);
        if first {
            script.open_all(AGENT, link);
        }
    }

    /// Lets this end say and do what it has to, and answers its pings.
    fn turn(&mut self, script: &mut impl Player) {
        let Some(link) = &mut self.link else { return };
        loop {
            let mut moved = false;
            while let Some(event) = link.poll_event() {
                script.event(self.end, event, link);
                moved = true;
            }
            for carrier in 1..=8 {
                let mut out = BytesMut::new();
                if !link.poll_transmit(carrier, self.now, &mut out, 32 << 10) {
                    continue;
                }
                moved = true;
                self.said.add(carrier, &out);
                let mut answer = Vec::new();
                for (kind, body) in raw::frames(&out) {
                    *self.heard.entry(carrier).or_default() += u64::from(raw::COUNTED.contains(&kind));
                    if kind == raw::PING {
                        raw::put(&mut answer, raw::PONG, body);
                    }
                }
                if link.carrier_is_up(carrier) {
                    let mut ack = Vec::new();
                    raw::number(&mut ack, carrier.into());
                    raw::number(&mut ack, self.heard[&carrier]);
                    raw::put(&mut answer, raw::ACK, &ack);
                    link.handle_input(carrier, answer.into(), self.now);
                }
            }
            if !moved {
                return;
            }
        }
    }
}
