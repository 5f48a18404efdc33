//! Carriers come, die, lag and overtake each other; the streams do not notice.

use super::*;

#[test]
fn one_stream_is_striped_over_all_carriers() {
    let mut pair = Pair::connected(4);
    let id = pair.open(CLIENT);
    pair.transfer(CLIENT, id, &noise(1 << 20), |_, _| {});
    for carrier in pair.agent().carriers.values() {
        assert!(carrier.received > 3, "{}", carrier.received);
    }
}

#[test]
fn carriers_that_overtake_each_other_change_nothing() {
    let mut pair = Pair::connected(3);
    // Nothing on one carrier until much has passed on the others, in turn.
    let id = pair.client.open(&Open::Call).unwrap();
    pair.write(CLIENT, id, b"x");
    let bytes = noise(1 << 20);
    pair.run();
    pair.agent().accept(id);
    let first = bytes.clone();
    assert_eq!(pair.read(AGENT, id), b"x");
    pair.transfer(CLIENT, id, &first, |pair, step| {
        let stuck = (step / 7 % 3) as CarrierId + 1;
        for (id, wire) in &mut pair.wires {
            wire.stuck = *id == stuck;
        }
    });
}

#[test]
fn data_may_overtake_the_open_and_the_end() {
    let mut pair = Pair::connected(2);
    let id = pair.client.open(&Open::Call).unwrap();
    // The OPEN goes on carrier 1, the data and the FIN on carrier 2.
    let mut out = BytesMut::new();
    let now = pair.now;
    assert!(pair.client.poll_transmit(1, now, &mut out, 1 << 20));
    let open = out.split().freeze();
    pair.write(CLIENT, id, b"data");
    pair.client.finish(id);
    assert!(pair.client.poll_transmit(2, now, &mut out, 1 << 20));
    pair.agent().handle_input(2, out.freeze(), now);
    pair.collect();
    assert_eq!(pair.count(AGENT, |event| matches!(event, Event::Incoming(..))), 0);
    pair.agent().handle_input(1, open, now);
    pair.collect();
    assert_eq!(pair.count(AGENT, |event| matches!(event, Event::Incoming(..))), 1);
    pair.agent().accept(id);
    assert_eq!(pair.read(AGENT, id), b"data");
    assert_eq!(pair.agent().read(id, 1), Ok(Read::End));
}

#[test]
fn a_reset_may_overtake_the_open() {
    let mut pair = Pair::connected(2);
    let id = pair.client.open(&Open::Call).unwrap();
    let mut out = BytesMut::new();
    let now = pair.now;
    assert!(pair.client.poll_transmit(1, now, &mut out, 1 << 20));
    let open = out.split().freeze();
    pair.client.release(id);
    assert!(pair.client.poll_transmit(2, now, &mut out, 1 << 20));
    pair.agent().handle_input(2, out.freeze(), now);
    pair.agent().handle_input(1, open, now);
    pair.run();
    assert_eq!(pair.count(AGENT, |event| matches!(event, Event::Incoming(..))), 0);
    assert_eq!((pair.client.stats().streams, pair.agent().stats().streams), (0, 0));
}

#[test]
fn a_transfer_survives_carriers_cut_at_every_step() {
    for carriers in [1, 2] {
        let mut pair = Pair::connected(carriers);
        let id = pair.open(CLIENT);
        pair.transfer(CLIENT, id, &noise(4 << 20), |pair, step| {
            if step % 5 == 4 {
                let oldest = *pair.wires.keys().next().unwrap();
                pair.cut(oldest);
                pair.connect();
            }
        });
        assert!(pair.client.stats().carriers_lost > 5);
    }
}

#[test]
fn a_conversation_survives_a_cut_at_every_byte() {
    // What a carrier has brought when it dies is any number of bytes of what was sent on it.
    for at in 0.. {
        let mut pair = Pair::connected(1);
        let now = pair.now;
        let id = pair.client.open(&Open::Call).unwrap();
        pair.write(CLIENT, id, b"a request of some length");
        pair.client.finish(id);
        let mut out = BytesMut::new();
        assert!(pair.client.poll_transmit(1, now, &mut out, 1 << 20));
        let whole = out.len();
        out.truncate(at);
        pair.agent().handle_input(1, out.freeze(), now);
        pair.cut(1);
        pair.connect();
        pair.run();
        pair.agent().accept(id);
        assert_eq!(pair.read(AGENT, id), b"a request of some length");
        assert_eq!(pair.agent().read(id, 1), Ok(Read::End));
        pair.write(AGENT, id, b"an answer");
        pair.agent().finish(id);
        // And the same for the answer.
        let mut out = BytesMut::new();
        assert!(pair.agent().poll_transmit(2, now, &mut out, 1 << 20));
        out.truncate(at);
        pair.client.handle_input(2, out.freeze(), now);
        pair.cut(2);
        pair.connect();
        pair.pass(Duration::from_millis(100));
        assert_eq!(pair.read(CLIENT, id), b"an answer");
        assert_eq!(pair.client.read(id, 1), Ok(Read::End));
        pair.client.release(id);
        pair.agent().release(id);
        pair.pass(Duration::from_millis(100));
        assert!(pair.client.is_flushed() && pair.agent().is_flushed());
        assert_eq!((pair.client.stats().streams, pair.agent().stats().streams), (0, 0));
        assert_eq!(pair.count(AGENT, |event| matches!(event, Event::Incoming(..))), 1);
        if at > whole {
            return;
        }
    }
}

#[test]
fn what_is_acknowledged_is_not_sent_again() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    pair.write(CLIENT, id, &[7; 100_000]);
    pair.pass(Duration::from_millis(100));
    assert_eq!(pair.client.stats().unacknowledged, 0);
    pair.cut(1);
    pair.connect();
    pair.run();
    assert_eq!(pair.client.stats().resent, 0);
    assert_eq!(pair.read(AGENT, id), [7; 100_000]);
}

#[test]
fn what_came_on_a_lost_carrier_is_told_on_the_next() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    for end in [CLIENT, AGENT] {
        pair.write(end, id, &[7; 5000]);
    }
    // Everything arrives; the acknowledgements are not due yet.
    pair.run();
    assert!(pair.client.stats().unacknowledged > 0 && pair.agent().stats().unacknowledged > 0);
    pair.cut(1);
    pair.connect();
    pair.run();
    assert_eq!((pair.client.stats().resent, pair.agent().stats().resent), (0, 0));
    assert_eq!(pair.read(AGENT, id), [7; 5000]);
    assert_eq!(pair.read(CLIENT, id), [7; 5000]);
}

#[test]
fn acknowledgements_do_not_answer_each_other() {
    let mut pair = Pair::connected(2);
    let id = pair.open(CLIENT);
    pair.write(CLIENT, id, b"x");
    pair.pass(Duration::from_secs(1));
    let sent: u64 = pair.client.carriers.values().map(|carrier| carrier.next_token).sum();
    // An idle hour: heartbeats and nothing else.
    let mut frames = 0;
    for _ in 0..360 {
        pair.now += Duration::from_secs(2);
        let now = pair.now;
        pair.client.handle_timeout(now);
        pair.agent().handle_timeout(now);
        while pair.transmit() {
            frames += pair.wires.values().map(|wire| wire.to_agent.len()).sum::<usize>();
            for id in [1, 2] {
                while pair.deliver(id) {}
            }
        }
    }
    // A ping, and the answer to the other's, on two carriers.
    assert!(frames <= 360 * 4, "{frames}");
    let pings: u64 = pair.client.carriers.values().map(|carrier| carrier.next_token).sum();
    assert_eq!(pings - sent, 720);
}

#[test]
fn heartbeats_measure_the_round_trip() {
    let mut pair = Pair::connected(1);
    assert_eq!(pair.client.rtt(), Some(Duration::ZERO));
    for _ in 0..100 {
        pair.now += Duration::from_secs(2);
        let now = pair.now;
        pair.client.handle_timeout(now);
        pair.agent().handle_timeout(now);
        pair.transmit();
        pair.now += Duration::from_millis(40);
        pair.run();
    }
    let rtt = pair.client.rtt().unwrap();
    assert!((39..=40).contains(&rtt.as_millis()), "{rtt:?}");
}

#[test]
fn a_silent_carrier_is_dead_within_five_seconds() {
    let mut pair = Pair::connected(2);
    let id = pair.open(CLIENT);
    pair.pass(Duration::from_secs(60));
    assert_eq!(pair.client.live_carriers(), 2);
    pair.wires.get_mut(&1).unwrap().stuck = true;
    // Some of it goes down the dead carrier.
    pair.write(CLIENT, id, &[7; 100_000]);
    let now = pair.now;
    assert!(pair.client.poll_transmit(1, now, &mut BytesMut::new(), 32 << 10));
    pair.run();
    assert!(pair.read(AGENT, id).len() < 100_000);
    pair.pass(Duration::from_secs(5));
    for end in [CLIENT, AGENT] {
        let dead = Event::CarrierEnded(1, CarrierEnd::Silent);
        assert_eq!(pair.count(end, |event| *event == dead), 1);
        assert_eq!(pair.end(end).live_carriers(), 1);
    }
    assert!(!pair.read(AGENT, id).is_empty());
}

#[test]
fn frames_of_a_later_version_are_counted_with_the_others() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    pair.pass(Duration::from_millis(100));
    // As a later client would: it keeps the frame until it is acknowledged.
    let before = pair.agent().carriers[&1].received;
    let now = pair.now;
    pair.agent().handle_input(
        1,
        Bytes::from_static(&[0x3f, 0, 0, 1, 9, 0x40, 0, 0, 2, 2, 9, 0x0f, 0, 0, 0]),
        now,
    );
    assert_eq!(pair.agent().carriers[&1].received, before + 1);
    pair.client.carriers.get_mut(&1).unwrap().retained.push_back(Retained::Credit(id));
    pair.pass(Duration::from_millis(100));
    assert!(pair.client.is_flushed());
}

#[test]
fn one_end_tells_the_other_which_carriers_it_has_lost() {
    let mut pair = Pair::connected(2);
    let id = pair.open(CLIENT);
    pair.write(AGENT, id, &[7; 100_000]);
    let now = pair.now;
    // Some of it is under way to a client that has lost the carrier already, and takes no byte from there.
    assert!(pair.agent().poll_transmit(1, now, &mut BytesMut::new(), 32 << 10));
    pair.client.carrier_down(1, now);
    pair.run();
    // At once, not after five seconds of silence.
    assert_eq!(pair.count(AGENT, |event| *event == Event::CarrierEnded(1, CarrierEnd::Abandoned)), 1);
    assert_eq!((pair.client.live_carriers(), pair.agent().live_carriers()), (1, 1));
    assert_eq!(pair.read(CLIENT, id), [7; 100_000]);
}

#[test]
fn the_first_hello_tells_the_credit_of_streams() {
    let mut pair = Pair::connected(1);
    let before = pair.open(AGENT);
    let later = Hello { stream_credit: 1 << 20, carrier: 7, ..pair.client.hello(7) };
    let now = pair.now;
    pair.agent().carrier_join(&later, FrameReader::default(), now).unwrap();
    pair.agent().carrier_down(7, now);
    let behind = pair.open(AGENT);
    for id in [before, behind] {
        pair.write(AGENT, id, &[7; 200_000]);
        pair.run();
        assert_eq!(pair.client.close_reason(), None);
        assert_eq!(pair.read(CLIENT, id).len(), 128 << 10);
        pair.run();
    }
}

#[test]
fn a_heartbeat_of_weeks_is_not_believed() {
    let mut pair = Pair::new();
    let hello = Hello { heartbeat: Duration::from_millis(u32::MAX.into()), ..pair.client.hello(1) };
    let now = pair.now;
    let mut agent = Link::agent(config(Role::Gateway), &hello, [9; 16]).unwrap();
    agent.carrier_join(&hello, FrameReader::default(), now).unwrap();
    for second in 1..=24 {
        agent.handle_timeout(now + Duration::from_secs(second));
    }
    assert_eq!(agent.live_carriers(), 1);
    agent.handle_timeout(now + Duration::from_secs(25));
    assert_eq!(agent.live_carriers(), 0);
    // And none is promised.
    pair.client =
        Link::client(config(Role::Client).heartbeat(Duration::from_secs(1 << 30)), [1; 16], [2; 32], [3; 16]);
    assert_eq!(pair.client.hello(1).heartbeat, Duration::from_secs(60));
}

#[test]
fn a_slow_peer_heartbeat_is_waited_for() {
    let slow = config(Role::Client).heartbeat(Duration::from_secs(10)).silence(Duration::from_secs(15));
    let mut pair = Pair::with(slow, config(Role::Gateway).heartbeat(Duration::from_secs(10)));
    pair.connect();
    pair.run();
    pair.pass(Duration::from_secs(120));
    assert_eq!((pair.client.live_carriers(), pair.agent().live_carriers()), (1, 1));
}

#[test]
fn as_many_carriers_as_allowed_and_a_silent_one_makes_place() {
    let mut pair = Pair::with(config(Role::Client), config(Role::Gateway).max_carriers(2));
    for _ in 0..3 {
        pair.connect();
        pair.run();
    }
    let busy = |event: &Event| matches!(event, Event::CarrierEnded(3, CarrierEnd::Refused(goodbye)) if goodbye.code == GoodbyeCode::Busy);
    assert_eq!(pair.count(CLIENT, busy), 1);
    // The client knows that its carriers are dead, the agent does not yet.
    pair.wires.clear();
    let now = pair.now;
    for id in [1, 2] {
        pair.client.carrier_down(id, now);
    }
    pair.now += Duration::from_secs(4);
    pair.connect();
    pair.run();
    assert_eq!(pair.client.live_carriers(), 1);
    assert_eq!(pair.count(AGENT, |event| matches!(event, Event::CarrierEnded(_, CarrierEnd::Replaced))), 1);
}

#[test]
fn a_carrier_is_retired_when_nothing_is_left_on_it() {
    for end in [CLIENT, AGENT] {
        let mut pair = Pair::connected(2);
        let id = pair.open(CLIENT);
        pair.write(CLIENT, id, &[1; 50_000]);
        pair.write(AGENT, id, &[2; 50_000]);
        let now = pair.now;
        // Some of both is on its way there.
        let mut bytes = BytesMut::new();
        for end in [CLIENT, AGENT] {
            assert!(pair.end(end).poll_transmit(1, now, &mut bytes, 16 << 10));
            let bytes = bytes.split().freeze();
            let wire = pair.wires.get_mut(&1).unwrap();
            if end == CLIENT { wire.to_agent.push_back(bytes) } else { wire.to_client.push_back(bytes) }
        }
        pair.end(end).retire(1, now);
        pair.end(end).retire(1, now);
        assert_eq!(pair.end(end).live_carriers(), 1);
        pair.run();
        assert!(pair.end(end).carrier_finished(1), "it is to be closed");
        assert_eq!(pair.count(1 - end, |event| *event == Event::CarrierEnded(1, CarrierEnd::Retired)), 1);
        pair.cut(1);
        for end in [CLIENT, AGENT] {
            assert_eq!(pair.count(end, |event| *event == Event::CarrierLeaving(1)), 1);
            let stats = pair.end(end).stats();
            assert_eq!((stats.resent, stats.carriers_lost, stats.carriers), (0, 0, 1));
        }
        assert_eq!(pair.read(AGENT, id), [1; 50_000]);
        assert_eq!(pair.read(CLIENT, id), [2; 50_000]);
    }
}

#[test]
fn a_retired_carrier_that_nobody_closes_goes_by_itself() {
    let mut pair = Pair::connected(2);
    pair.wires.get_mut(&1).unwrap().stuck = true;
    let now = pair.now;
    pair.client.retire(1, now);
    pair.pass(Duration::from_secs(6));
    assert!(!pair.client.has_carrier(1) && !pair.agent().has_carrier(1));
    // One that is not up yet, and one that is not known.
    let id = pair.client.carrier_up(pair.now).unwrap();
    let now = pair.now;
    pair.client.retire(id, now);
    pair.client.retire(77, now);
    pair.collect();
    assert_eq!(pair.count(CLIENT, |event| *event == Event::CarrierEnded(id, CarrierEnd::Retired)), 1);
    assert_eq!(pair.client.live_carriers(), 1);
}

#[test]
fn what_waits_to_be_said_again_is_held_until_it_is() {
    let mut pair = Pair::connected(2);
    let id = pair.open(CLIENT);
    pair.write(CLIENT, id, &noise(48 << 10));
    let (now, mut out) = (pair.now, BytesMut::new());
    for carrier in [1, 2] {
        while pair.client.poll_transmit(carrier, now, &mut out, Link::LEAST_TRANSMIT) {}
    }
    let held = pair.client.stats().unacknowledged;
    assert!(held >= 48 << 10, "{held}");
    // Nothing of it has come to the peer.
    pair.client.carrier_down(1, now);
    pair.client.carrier_down(2, now);
    assert!(!pair.client.resend.is_empty());
    assert_eq!(pair.client.stats().unacknowledged, held);
    // In frames of other sizes than before, half of it on a carrier that is lost, too.
    let third = pair.client.carrier_up(now).unwrap();
    pair.client.carriers.get_mut(&third).unwrap().up = true;
    assert!(pair.client.poll_transmit(third, now, &mut out, 20 << 10));
    assert!(pair.client.stats().unacknowledged >= 48 << 10);
    pair.client.carrier_down(third, now);
    pair.client.reset(id, ResetCode::Reset);
    pair.client.release(id);
    let fourth = pair.client.carrier_up(now).unwrap();
    pair.client.carriers.get_mut(&fourth).unwrap().up = true;
    while pair.client.poll_transmit(fourth, now, &mut out, 20 << 10) {}
    assert!(pair.client.resend.is_empty());
    let retained = pair.client.carriers[&fourth].retained.iter();
    let data = retained.map(|frame| {
        if let Retained::Data { bytes, .. } = frame { bytes.len() as u64 + FRAME_COST } else { 0 }
    });
    assert_eq!(pair.client.stats().unacknowledged, data.sum::<u64>());
}
