//! Associations: whole datagrams or none, beside streams.

use super::{line::Line, *};
use crate::{Budget, MAX_DATAGRAM, RefusalCode};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn udp() -> Open {
    Open::DialDatagrams { host: "kube-dns".into(), port: 53, deadline: Duration::ZERO }
}

fn inbound() -> Open {
    let (from, to) = ("10.0.0.9:4711".parse().unwrap(), "10.0.0.7:47200".parse().unwrap());
    Open::InboundDatagrams { port: 53, from, to }
}

impl Pair {
    fn send(&mut self, end: usize, id: StreamId, bytes: &[u8]) {
        assert_eq!(self.end(end).send_datagram(id, Bytes::copy_from_slice(bytes)), Ok(()));
    }

    /// All that came.
    fn receive(&mut self, end: usize, id: StreamId) -> Vec<Vec<u8>> {
        let link = self.end(end);
        std::iter::from_fn(|| link.receive_datagram(id).unwrap()).map(|bytes| bytes.to_vec()).collect()
    }
}

#[test]
fn datagrams_of_all_sizes_go_both_ways_whole() {
    for max in [8 << 10, 32 << 10, 128 << 10] {
        let mut pair = Pair::connected(1);
        pair.max = max;
        for (opener, open) in [(CLIENT, udp()), (AGENT, inbound())] {
            let id = pair.open_as(opener, &open);
            assert!(pair.events[1 - opener].contains(&Event::Incoming(id, open)));
            for from in [CLIENT, AGENT] {
                let sent: Vec<_> =
                    [0, 1, 1200, 8000, MAX_DATAGRAM, 2, 32_768].map(noise).into_iter().collect();
                let mut got = Vec::new();
                for datagram in &sent {
                    assert_eq!(pair.end(1 - from).receive_datagram(id), Ok(None));
                    pair.send(from, id, datagram);
                    pair.run();
                    assert_eq!(pair.events[1 - from].pop(), Some(Event::Readable(id)));
                    got.extend(pair.receive(1 - from, id));
                }
                assert!(got == sent, "from {from}");
            }
            // What is too long for anybody is dropped.
            pair.send(CLIENT, id, &[0; MAX_DATAGRAM + 1]);
            pair.run();
            assert_eq!(pair.receive(AGENT, id), Vec::<Vec<u8>>::new());
        }
        for end in [CLIENT, AGENT] {
            let stats = pair.end(end).stats();
            assert_eq!((stats.datagrams_sent, stats.datagrams_received, stats.datagrams), (14, 14, 0));
            assert_eq!((stats.under_way, stats.unacknowledged, stats.sent), (0, 0, 0));
            assert_eq!(stats.datagrams_dropped, if end == CLIENT { 2 } else { 0 });
            assert!(pair.end(end).is_flushed());
        }
    }
}

#[test]
fn what_is_too_much_is_dropped_from_the_oldest_on() {
    let mut pair = Pair::connected(1);
    let id = pair.open_as(CLIENT, &udp());
    // Before they are sent.
    for number in 0..1000_u16 {
        pair.send(CLIENT, id, &number.to_be_bytes());
    }
    assert_eq!(pair.client.stats().datagrams_dropped, 744);
    assert_eq!(pair.client.stats().datagrams, 256 * (2 + FRAME_COST));
    pair.pass(ms(100));
    let got = pair.receive(AGENT, id);
    assert_eq!(got.len(), 256);
    assert_eq!(got[0], 744_u16.to_be_bytes());
    // Before they are read.
    for number in 0..1000_u16 {
        pair.send(CLIENT, id, &number.to_be_bytes());
        pair.pass(ms(1));
    }
    let got = pair.receive(AGENT, id);
    assert_eq!((got.len(), &got[0][..]), (256, &744_u16.to_be_bytes()[..]));
    // Big ones are few; and one fits always.
    for _ in 0..100 {
        pair.send(CLIENT, id, &[1; MAX_DATAGRAM]);
    }
    assert!((3..=4).contains(&(pair.client.stats().datagrams / MAX_DATAGRAM as u64)));
}

#[test]
fn all_together_stay_within_their_bound_and_the_budget() {
    for budget in [64 << 20, 0] {
        let budget = Budget::new(budget);
        let mut pair = Pair::with(config(Role::Client).budget(budget.clone()), config(Role::Gateway));
        pair.connect();
        pair.run();
        let ids: Vec<_> = (0..100).map(|_| pair.open_as(CLIENT, &udp())).collect();
        for id in &ids {
            for _ in 0..10 {
                pair.send(CLIENT, *id, &[1; 32 << 10]);
            }
        }
        let held = pair.client.stats().datagrams;
        if budget.total() > 0 {
            assert!((3 << 20..=4 << 20).contains(&held), "{held}");
        } else {
            assert!((64 << 10..=128 << 10).contains(&held), "{held}");
            // Somebody's datagrams still go.
            pair.pass(ms(10));
            pair.send(CLIENT, ids[99], &[7; MAX_DATAGRAM]);
            pair.pass(ms(10));
            assert_eq!(pair.receive(AGENT, ids[99]).pop(), Some(vec![7; MAX_DATAGRAM]));
        }
        assert!(budget.used() <= budget.total().max((1 << 20) + (128 << 10)) + (256 << 10), "{budget:?}");
        drop(pair);
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn an_association_ends_from_either_side_and_what_came_before_is_read() {
    for from in [CLIENT, AGENT] {
        let mut pair = Pair::connected(1);
        let id = pair.open_as(CLIENT, &udp());
        pair.send(from, id, b"last");
        pair.run();
        pair.end(from).reset(id, ResetCode::Idle);
        assert_eq!(pair.end(from).send_datagram(id, Bytes::new()), Err(StreamError::Finished));
        pair.run();
        assert!(pair.events[1 - from].contains(&Event::Cut(id)));
        let there = pair.end(1 - from);
        assert_eq!(there.send_datagram(id, Bytes::new()), Err(StreamError::Cut(ResetCode::Idle)));
        assert_eq!(there.receive_datagram(id), Ok(Some(Bytes::from_static(b"last"))));
        assert_eq!(there.receive_datagram(id), Err(StreamError::Cut(ResetCode::Idle)));
        for end in [CLIENT, AGENT] {
            pair.end(end).release(id);
        }
        pair.pass(ms(100));
        for end in [CLIENT, AGENT] {
            let stats = pair.end(end).stats();
            assert_eq!((stats.streams, stats.datagrams, stats.unacknowledged), (0, 0, 0));
        }
    }
}

#[test]
fn a_refused_association_is_one_that_was_never_there() {
    let mut pair = Pair::connected(1);
    let id = pair.client.open(&udp()).unwrap();
    pair.send(CLIENT, id, b"early");
    pair.run();
    pair.agent().refuse(id, Refusal::new(RefusalCode::NameNotFound, "no such name"));
    pair.run();
    let refused = Err(StreamError::Refused(Refusal::new(RefusalCode::NameNotFound, "no such name")));
    assert_eq!(pair.client.opened(id), Some(refused.clone()));
    assert_eq!(pair.client.send_datagram(id, Bytes::new()), refused);
    pair.client.release(id);
    pair.pass(ms(100));
    assert_eq!((pair.client.stats().streams, pair.agent().stats().streams), (0, 0));
    assert_eq!(pair.agent().stats().datagrams, 0);
}

#[test]
fn bytes_and_datagrams_do_not_mix() {
    let mut pair = Pair::connected(1);
    let (stream, association) = (pair.open(CLIENT), pair.open_as(CLIENT, &udp()));
    assert_eq!(pair.client.write_slice(association, b"bytes"), Err(StreamError::Finished));
    assert_eq!(pair.client.send_datagram(stream, Bytes::new()), Err(StreamError::Finished));
    assert_eq!(pair.client.receive_datagram(stream), Ok(None));
    pair.client.finish(association);
    pair.send(CLIENT, association, b"still there");
    pair.pass(ms(20));
    assert_eq!(pair.receive(AGENT, association), [b"still there"]);
    assert!(pair.agent().close_reason().is_none());
}

/// An agent's end with a stream (2), an association (4), and what the client says then on its two carriers.
fn told(capabilities: u64, frames: &[(CarrierId, Frame)]) -> Link {
    let now = Instant::now();
    let client = Link::client(config(Role::Client), [1; 16], [2; 32], [3; 16]);
    let hello = |carrier| Hello { capabilities, ..client.hello(carrier) };
    let mut agent = Link::agent(config(Role::Gateway), &hello(1), [9; 16]).unwrap();
    for carrier in [1, 2] {
        agent.carrier_join(&hello(carrier), FrameReader::default(), now).unwrap();
    }
    for (id, open) in [(2, dial()), (4, udp())] {
        say(&mut agent, 1, &Frame::Open { stream: id, fields: open.encode().unwrap().into() });
        agent.accept(id);
    }
    for (carrier, frame) in frames {
        say(&mut agent, *carrier, frame);
    }
    agent
}

fn say(link: &mut Link, carrier: CarrierId, frame: &Frame) {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    link.handle_input(carrier, out.freeze(), Instant::now());
}

fn datagram(stream: u64) -> Frame {
    Frame::Datagram { stream, bytes: Bytes::from_static(b"one") }
}

#[test]
fn frames_that_an_association_or_a_stream_cannot_have_break_the_protocol() {
    let data = |stream| Frame::Data { stream, offset: 0, bytes: Bytes::from_static(b"x") };
    let open = |stream, open: Open| Frame::Open { stream, fields: open.encode().unwrap().into() };
    let cases: [(&[Frame], bool); 10] = [
        (&[datagram(2)], false),
        (&[data(4)], false),
        (&[Frame::Fin { stream: 4, end: 0 }], false),
        // One of this end's that it never opened.
        (&[datagram(7)], false),
        (&[data(6), open(6, udp())], false),
        (&[datagram(6), open(6, dial())], false),
        (&[datagram(6), open(6, udp())], true),
        (&[datagram(4), Frame::Credit { stream: 4, limit: 1 << 30 }], true),
        (&[Frame::Reset { stream: 4, code: ResetCode::Idle, end: 0, deliver: 0 }, datagram(4)], true),
        // Of a kind that is not known, which is refused.
        (&[datagram(6), open(6, Open::Unknown(99)), datagram(6)], true),
    ];
    for (frames, fine) in cases {
        let frames: Vec<_> = frames.iter().map(|frame| (1, frame.clone())).collect();
        assert_eq!(told(1, &frames).close_reason().is_none(), fine, "{frames:?}");
    }
    // An end that takes no datagrams has no associations, and its DATAGRAMs are of a version to come.
    let agent = told(0, &[(1, datagram(2)), (1, datagram(4)), (1, datagram(7))]);
    assert!(agent.close_reason().is_none());
    assert_eq!(agent.stats().datagrams_received, 0);
}

#[test]
fn a_datagram_may_overtake_the_opening() {
    let open = |id| Frame::Open { stream: id, fields: udp().encode().unwrap().into() };
    let mut agent = told(1, &[(2, datagram(6)), (2, datagram(8)), (1, open(6))]);
    agent.accept(6);
    assert_eq!(agent.receive_datagram(6), Ok(Some(Bytes::from_static(b"one"))));
    assert_eq!(agent.receive_datagram(6), Ok(None));
    // What never gets its OPEN is not kept for ever.
    for id in 0..1000 {
        say(&mut agent, 2, &datagram(10 + id * 2));
    }
    assert_eq!(agent.stats().datagrams_dropped, 1001 - 64);
    assert_eq!(agent.stats().streams, 3);
    say(&mut agent, 1, &open(8));
    assert_eq!(agent.receive_datagram(8), Ok(None));
}

#[test]
fn a_lost_carrier_takes_its_datagrams_along_and_nothing_else() {
    let mut pair = Pair::connected(2);
    let (id, stream) = (pair.open_as(CLIENT, &udp()), pair.open(CLIENT));
    pair.send(CLIENT, id, b"lost");
    pair.write(CLIENT, stream, b"kept");
    pair.transmit();
    let wires: Vec<_> = pair.wires.keys().copied().collect();
    wires.into_iter().for_each(|wire| pair.cut(wire));
    // What is sent while there is no carrier waits for one.
    pair.send(CLIENT, id, b"waited");
    pair.connect();
    pair.pass(ms(100));
    assert_eq!(pair.receive(AGENT, id), [b"waited"]);
    assert_eq!(pair.read(AGENT, stream), b"kept");
    pair.send(AGENT, id, b"back");
    pair.pass(ms(20));
    assert_eq!(pair.receive(CLIENT, id), [b"back"]);
}

/// An end that knows no datagrams is asked for no association, before its hello and behind it.
#[test]
fn an_end_that_takes_none_is_sent_none() {
    let now = Instant::now();
    let mut client = Link::client(config(Role::Client), [1; 16], [2; 32], [3; 16]);
    let early = client.open(&udp()).unwrap();
    assert_eq!(client.send_datagram(early, Bytes::from_static(b"early")), Ok(()));
    client.carrier_up(now).unwrap();
    client.poll_transmit(1, now, &mut BytesMut::new(), 32 << 10);
    let hello = Hello { capabilities: 0, role: Role::Gateway, secret: None, ..client.hello(1) };
    say(&mut client, 1, &Frame::Hello(Box::new(hello)));
    let late = client.open(&udp()).unwrap();
    let stream = client.open(&dial()).unwrap();
    for id in [early, late] {
        let Some(Err(StreamError::Refused(refusal))) = client.opened(id) else { panic!("not refused") };
        assert_eq!(refusal.code, RefusalCode::Unsupported);
        assert!(refusal.text.contains(env!("CARGO_PKG_VERSION")), "{}", refusal.text);
        client.release(id);
    }
    let mut out = BytesMut::new();
    client.poll_transmit(1, now, &mut out, 32 << 10);
    let mut reader = FrameReader::default();
    reader.push(out.freeze());
    let frames: Vec<_> = std::iter::from_fn(|| reader.next_frame().unwrap()).collect();
    assert!(
        matches!(frames[..], [Frame::Ping(_), Frame::Open { stream: id, .. }] if id == stream),
        "{frames:?}"
    );
    assert_eq!((client.stats().streams, client.stats().datagrams), (1, 0));
}

#[test]
fn small_datagrams_do_not_wait_behind_bulk_and_a_flood_of_them_stops_nobody() {
    for carriers in [1, 2] {
        let mut line = Line::usual(carriers, ms(200));
        line.set_rate(Some(125_000));
        let bulk = line.open();
        let ids: Vec<_> = (0..2).map(|_| line.ends[CLIENT].open(&udp()).unwrap()).collect();
        line.run(ms(300));
        ids.iter().for_each(|id| line.ends[AGENT].accept(*id));
        let fill = |line: &mut Line| {
            line.fill(CLIENT, bulk);
            line.drain(AGENT, bulk);
        };
        line.run_with(Duration::from_secs(10), fill);
        // A question every second beside bulk.
        let (mut asked, mut times, mut got) = (None, Vec::new(), 0);
        line.run_with(Duration::from_secs(20), |line| {
            line.fill(CLIENT, bulk);
            got += line.drain(AGENT, bulk);
            if asked.is_none_or(|at| line.now >= at + Duration::from_secs(1)) {
                asked = Some(line.now);
                line.ends[CLIENT].send_datagram(ids[0], Bytes::from_static(&[1; 60])).unwrap();
            }
            if line.ends[AGENT].receive_datagram(ids[0]).unwrap().is_some() {
                times.push(line.now - asked.unwrap());
            }
        });
        assert!(got > 16 * 125_000, "{carriers} carriers: {got}");
        // A few may meet the pace of a carrier while it settles.
        times.sort_unstable();
        assert!(times.len() == 20 && times[17] <= ms(300) && times[19] < ms(1000), "{carriers}: {times:?}");
        // And a flood.
        let (mut bytes, mut datagrams) = (0, 0);
        line.run_with(Duration::from_secs(20), |line| {
            line.fill(CLIENT, bulk);
            bytes += line.drain(AGENT, bulk);
            for _ in 0..4 {
                line.ends[CLIENT].send_datagram(ids[1], Bytes::from_static(&[1; 1200])).unwrap();
            }
            while let Ok(Some(datagram)) = line.ends[AGENT].receive_datagram(ids[1]) {
                datagrams += datagram.len();
            }
        });
        assert!(bytes > 4 * 125_000, "{carriers} carriers: {bytes} beside {datagrams}");
        assert!(datagrams > 4 * 125_000, "{carriers} carriers: {datagrams} beside {bytes}");
        assert!(bytes + datagrams > 15 * 125_000, "{carriers} carriers: {datagrams} and {bytes}");
        // Nothing piles up on the way.
        assert!(line.most_queued < 256 << 10, "{}", line.most_queued);
    }
}

#[test]
fn a_long_line_is_filled() {
    let mut line = Line::usual(2, ms(100));
    let id = line.ends[CLIENT].open(&udp()).unwrap();
    line.run(ms(200));
    line.ends[AGENT].accept(id);
    let mut got = 0;
    line.run_with(Duration::from_secs(10), |line| {
        for _ in 0..20 {
            line.ends[CLIENT].send_datagram(id, Bytes::from_static(&[1; 1200])).unwrap();
        }
        while let Ok(Some(datagram)) = line.ends[AGENT].receive_datagram(id) {
            got += datagram.len();
        }
    });
    // Of 240 MB, at 24 MB a second.
    assert!(got > 160 << 20, "{got}");
}

#[test]
fn the_rest_of_a_datagram_leaves_room_for_control() {
    const MOST: usize = Link::LEAST_TRANSMIT;
    for length in 2 * MOST - 1200..2 * MOST + 200 {
        let mut pair = Pair::connected(1);
        let open = Open::DialDatagrams { host: "d".into(), port: 1, deadline: Duration::ZERO };
        let id = pair.client.open(&open).unwrap();
        pair.run();
        pair.client.send_datagram(id, Bytes::from(vec![0; length])).unwrap();
        assert!(pair.client.poll_transmit(1, pair.now, &mut BytesMut::new(), MOST));
        // A ping to answer, something to acknowledge, something urgent.
        let mut input = BytesMut::new();
        Frame::Ping(u64::MAX >> 3).encode(&mut input);
        pair.client.handle_input(1, input.freeze(), pair.now);
        pair.client.open(&dial()).unwrap();
        let mut out = BytesMut::new();
        while pair.client.poll_transmit(1, pair.now, &mut out, MOST) {
            assert!(out.len() <= MOST, "{length}: {}", out.len());
            out.clear();
        }
    }
}
