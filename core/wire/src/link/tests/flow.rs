//! Credits, turns and memory.

use super::*;

#[test]
fn a_reader_that_stops_stops_its_writer() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    let bytes = noise(4 << 20);
    let mut written = 0;
    loop {
        let taken = pair.client.write_slice(id, &bytes[written..]).unwrap();
        if taken == 0 {
            break;
        }
        written += taken;
        pair.run();
    }
    // What the stream may hold there, and what it may hold here.
    assert_eq!(pair.agent().stats().buffered, 128 << 10);
    assert_eq!(written, (128 << 10) + (256 << 10));
    assert_eq!(pair.count(CLIENT, |event| *event == Event::Writable(id)), 0);
    let mut got = Vec::new();
    while pair.count(CLIENT, |event| *event == Event::Writable(id)) == 0 {
        let read = pair.read(AGENT, id);
        assert!(!read.is_empty());
        got.extend(read);
        pair.run();
    }
    while written < bytes.len() || got.len() < written {
        written += pair.client.write_slice(id, &bytes[written..]).unwrap();
        pair.run();
        got.extend(pair.read(AGENT, id));
    }
    assert!(got == bytes);
}

#[test]
fn windows_grow_while_the_reader_keeps_up() {
    let mut pair = Pair::with(config(Role::Client).send_buffer(4 << 20), config(Role::Gateway));
    pair.connect();
    pair.run();
    let id = pair.open(CLIENT);
    let bytes = noise(8 << 20);
    let (mut written, mut read, mut most) = (0, 0, 0);
    while read < bytes.len() {
        written += pair.client.write_slice(id, &bytes[written..]).unwrap();
        pair.run();
        most = most.max(pair.agent().stats().buffered);
        read += pair.read(AGENT, id).len();
    }
    assert!(most > 256 << 10 && most <= 1 << 20, "{most}");
}

#[test]
fn stopped_readers_do_not_hold_up_the_others() {
    let mut pair = Pair::connected(1);
    // Together they fill the link's window.
    let stopped: Vec<_> = (0..200).map(|_| pair.open(CLIENT)).collect();
    for id in &stopped {
        pair.write(CLIENT, *id, &[1; 128 << 10]);
        pair.run();
    }
    let id = pair.open(CLIENT);
    assert_eq!(pair.client.send_limit, pair.client.sent);
    pair.write(CLIENT, id, b"through");
    pair.run();
    assert_eq!(pair.read(AGENT, id), b"");
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.read(AGENT, id), b"through");
    // And they get all of their bytes when they come back.
    pair.pass(Duration::from_secs(1));
    for id in stopped {
        let mut got = pair.read(AGENT, id).len();
        pair.pass(Duration::from_millis(10));
        got += pair.read(AGENT, id).len();
        assert_eq!(got, 128 << 10);
    }
    assert_eq!(pair.agent().stats().buffered, 0);
    let most = 16 << 20;
    assert!(pair.agent().receive.parking() == most, "something stays parked");
}

#[test]
fn what_is_held_is_bounded_whoever_stops() {
    let config = |role| config(role).link_window(1 << 20).parked(1 << 20);
    let mut pair = Pair::with(config(Role::Client), config(Role::Gateway));
    pair.connect();
    pair.run();
    for _ in 0..64 {
        let id = pair.open(CLIENT);
        pair.write(CLIENT, id, &[1; 128 << 10]);
        pair.pass(Duration::from_secs(1));
        assert!(pair.agent().stats().buffered <= 2 << 20);
    }
    assert!(pair.agent().stats().buffered > 1 << 20);
}

#[test]
fn written_bytes_are_bounded_and_no_stream_is_shut_out() {
    let mut pair = Pair::with(config(Role::Client).queued(1 << 20), config(Role::Gateway));
    pair.connect();
    pair.run();
    let ids: Vec<_> = (0..16).map(|_| pair.open(CLIENT)).collect();
    let written: Vec<_> = ids.iter().map(|id| pair.client.write_slice(*id, &[1; 1 << 20]).unwrap()).collect();
    assert_eq!(written[..4], [256 << 10; 4]);
    assert_eq!(written[4..], [16 << 10; 12]);
    // Each is told when it can go on.
    assert!(ids.iter().all(|id| pair.client.write_slice(*id, &[1]) == Ok(0)));
    pair.run();
    for id in ids {
        let _ = pair.read(AGENT, id);
        pair.run();
        assert_eq!(pair.count(CLIENT, |event| *event == Event::Writable(id)), 1);
    }
}

#[test]
fn unacknowledged_bytes_are_bounded() {
    let mut pair = Pair::with(config(Role::Client).unacknowledged(1 << 20), config(Role::Gateway));
    pair.connect();
    pair.run();
    let ids: Vec<_> = (0..32).map(|_| pair.open(CLIENT)).collect();
    for id in &ids {
        pair.write(CLIENT, *id, &[1; 128 << 10]);
    }
    let now = pair.now;
    let mut out = BytesMut::new();
    while pair.client.poll_transmit(1, now, &mut out, 32 << 10) {}
    assert!(pair.client.stats().unacknowledged < (1 << 20) + (17 << 10));
    assert!(!pair.client.has_output());
    pair.agent().handle_input(1, out.freeze(), now);
    pair.run();
    assert_eq!(pair.agent().stats().buffered, 32 * (128 << 10));
}

#[test]
fn streams_take_turns_and_small_things_go_first() {
    let mut pair = Pair::connected(1);
    let bulk: Vec<_> = (0..3).map(|_| pair.open(CLIENT)).collect();
    for id in &bulk {
        pair.write(CLIENT, *id, &[1; 100_000]);
    }
    let now = pair.now;
    let asked = pair.client.open(&Open::Call).unwrap();
    let small = pair.client.open(&Open::Call).unwrap();
    pair.write(CLIENT, small, b"small");
    let mut out = BytesMut::new();
    while pair.client.poll_transmit(1, now, &mut out, 256 << 10) {}
    let mut reader = FrameReader::default();
    reader.push(out.freeze());
    let mut order = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        if let Frame::Open { stream, .. } = frame {
            order.push(format!("open {stream}"));
        } else if let Frame::Data { stream, bytes, .. } = frame {
            assert!(bytes.len() <= TURN);
            order.push(stream.to_string());
        }
    }
    let expected = [
        format!("open {asked}"),
        format!("open {small}"),
        bulk[0].to_string(),
        bulk[1].to_string(),
        bulk[2].to_string(),
        small.to_string(),
        bulk[0].to_string(),
    ];
    assert_eq!(order[..7], expected);
}

#[test]
fn messages_have_the_size_they_may_have() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    pair.write(CLIENT, id, &[1; 128 << 10]);
    let now = pair.now;
    let mut sizes = Vec::new();
    let mut out = BytesMut::new();
    while pair.client.poll_transmit(1, now, &mut out, 32_767) {
        sizes.push(out.split().len());
    }
    assert!(sizes.iter().all(|size| *size <= 32_767));
    assert!(sizes[..3].iter().all(|size| *size > 32_700), "{sizes:?}");
}

#[test]
fn thrown_away_bytes_keep_the_writer_going() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    pair.agent().stop(id);
    let bytes = noise(2 << 20);
    let mut written = 0;
    while written < bytes.len() {
        let taken = pair.client.write_slice(id, &bytes[written..]).unwrap();
        assert!(taken > 0);
        written += taken;
        pair.run();
    }
    // The other direction works.
    pair.write(AGENT, id, b"heard nothing");
    pair.run();
    assert_eq!(pair.read(CLIENT, id), b"heard nothing");
}

#[test]
fn streams_that_are_cut_with_bytes_everywhere_leave_no_credit_behind() {
    let mut pair = Pair::connected(2);
    for round in 0..400_u32 {
        let id = pair.open((round % 2) as usize);
        for end in [CLIENT, AGENT] {
            let _ = pair.end(end).write_slice(id, &[1; 128 << 10]).unwrap();
        }
        // Cut with the bytes in the queue, under way, or there; with a carrier lost now and then.
        for _ in 0..round % 4 {
            pair.transmit();
            pair.deliver(round % 7);
        }
        if round % 11 == 0 {
            let oldest = *pair.wires.keys().next().unwrap();
            pair.cut(oldest);
            pair.connect();
        }
        match round % 3 {
            0 => pair.client.reset(id, ResetCode::Reset),
            1 => pair.agent().reset_after_data(id, ResetCode::Reset),
            _ => {}
        }
        pair.client.release(id);
        pair.agent().release(id);
        pair.run();
    }
    pair.pass(Duration::from_secs(1));
    for end in [CLIENT, AGENT] {
        let stats = pair.end(end).stats();
        assert_eq!((stats.streams, stats.buffered, stats.queued, stats.unacknowledged), (0, 0, 0, 0));
    }
    let client_free = pair.client.send_limit - pair.client.sent;
    let agent_free = pair.agent().send_limit - pair.agent().sent;
    assert!(client_free > 12 << 20 && agent_free > 12 << 20, "{client_free} {agent_free}");
}

#[test]
fn an_idle_stream_is_small() {
    assert!(size_of::<Stream>() <= 512, "{}", size_of::<Stream>());
    assert!(size_of::<Retained>() <= 64, "{}", size_of::<Retained>());
}
