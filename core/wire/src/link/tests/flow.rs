//! Credits, turns and memory.

use super::{line::Line, *};

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
    assert_eq!(written, 256 << 10);
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
fn stopped_readers_do_not_hold_up_the_others() {
    let mut line = Line::usual(1, Duration::from_millis(100));
    line.set_rate(Some(250_000_000));
    // Two that get the biggest windows there are, and ninety with their first.
    for _ in 0..2 {
        let id = line.open();
        line.bulk(CLIENT, id, Duration::from_secs(3));
        line.run_with(Duration::from_secs(1), |line| line.fill(CLIENT, id));
    }
    let held = line.ends[AGENT].stats().buffered;
    assert!(held > 20 << 20, "{held}");
    let ids: Vec<_> = (0..90).map(|_| line.ends[CLIENT].open(&dial()).unwrap()).collect();
    line.run_with(Duration::from_secs(1), |line| ids.iter().for_each(|id| line.fill(CLIENT, *id)));
    assert_eq!(line.ends[AGENT].stats().buffered, held + 90 * (128 << 10));
    // What another sends goes through at once, and again and again.
    let id = line.open();
    let got = line.bulk(CLIENT, id, Duration::from_secs(2));
    assert!(got > 10 * (128 << 10), "{got}");
    assert!(line.ends[AGENT].stats().credit <= 48 << 20);
}

#[test]
fn calls_work_when_nothing_else_does() {
    let mut pair = Pair::connected(1);
    let mut ids = Vec::new();
    // Until the whole window of the link is full of what nobody reads.
    while ids.last().is_none_or(|id| pair.client.write_slice(*id, &[1; 128 << 10]).unwrap() > 0)
        && ids.len() < 1500
    {
        ids.push(pair.open(CLIENT));
        pair.run();
    }
    assert!(pair.client.send_limit - pair.client.sent <= pair.client.reserve);
    for _ in 0..50 {
        let call = pair.open_as(CLIENT, &Open::Call);
        pair.write(CLIENT, call, &[7; 10_000]);
        pair.pass(Duration::from_millis(20));
        assert!(pair.read(AGENT, call) == [7; 10_000]);
        pair.write(AGENT, call, &[8; 20_000]);
        pair.pass(Duration::from_millis(20));
        assert!(pair.read(CLIENT, call) == [8; 20_000]);
        pair.client.release(call);
        pair.agent().release(call);
    }
    for end in [CLIENT, AGENT] {
        assert!(pair.end(end).stats().credit <= 48 << 20);
    }
}

#[test]
fn one_stream_gets_the_whole_window_of_the_link_by_need_and_it_falls_back() {
    let mut line = Line::usual(1, Duration::from_millis(100));
    let window = |line: &Line| line.ends[AGENT].stats().window;
    assert_eq!((window(&line), line.ends[AGENT].stats().credit), (512 << 10, 512 << 10));
    let id = line.open();
    line.set_rate(Some(250_000_000));
    line.bulk(CLIENT, id, Duration::from_millis(1500));
    // 250 MB/s over 100 ms.
    let got = line.bulk(CLIENT, id, Duration::from_secs(1));
    assert!(got > 240_000_000, "{got}");
    assert!(window(&line) > 32 << 20);
    assert!(line.ends[CLIENT].stats().unacknowledged <= 36 << 20);
    // The reader keeps up, so next to nothing is held.
    assert!(line.ends[AGENT].stats().buffered < 1 << 20);
    // Used a little for a while.
    line.bulk(CLIENT, id, Duration::ZERO);
    for _ in 0..30 {
        line.run(Duration::from_secs(11));
        line.ends[CLIENT].write_slice(id, &[1; 1000]).unwrap();
        line.run(Duration::from_millis(200));
        line.drain(AGENT, id);
    }
    assert_eq!(window(&line), 512 << 10);
}

#[test]
fn a_window_stays_small_where_the_way_is_short() {
    let mut line = Line::usual(1, Duration::from_millis(2));
    let id = line.open();
    line.set_rate(Some(100_000_000));
    let got = line.bulk(CLIENT, id, Duration::from_secs(2));
    assert!(got > 180_000_000, "{got}");
    assert!(line.ends[AGENT].stats().window <= 8 << 20, "{}", line.ends[AGENT].stats().window);
}

#[test]
fn links_share_a_budget_and_none_stands_still() {
    let budget = crate::Budget::new(8 << 20);
    let mut lines: Vec<_> = (0..4)
        .map(|_| {
            let agent = config(Role::Gateway).budget(budget.clone());
            Line::new([config(Role::Client), agent], 1, Duration::from_millis(50))
        })
        .collect();
    assert_eq!(budget.used(), 4 << 20);
    for line in &mut lines {
        // Each stops reading in the end, and holds what it could get.
        let id = line.open();
        let got = line.bulk(CLIENT, id, Duration::from_secs(2));
        assert!(got > 1 << 20, "{got}");
        line.run_with(Duration::from_secs(1), |line| line.fill(CLIENT, id));
        assert!(budget.used() <= 8 << 20, "{budget:?}");
    }
    // All the same each of them can do something, both ways.
    for line in &mut lines {
        let id = line.open();
        for _ in 0..20 {
            line.ask(id, |_| {});
        }
    }
    // What is closed gives back all but what was not read yet.
    for line in &mut lines {
        let unread = line.ends[AGENT].stats().buffered;
        let before = budget.used();
        line.ends[AGENT].close(GoodbyeCode::Closed, "");
        assert!(before - budget.used() + (64 << 10) >= (1 << 20) - unread.min(1 << 20), "{budget:?}");
        assert!(line.ends[AGENT].stats().credit == unread);
    }
    drop(lines);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_held_is_bounded_whoever_stops() {
    let config = |role| config(role).link_window(1 << 20);
    let mut pair = Pair::with(config(Role::Client), config(Role::Gateway));
    pair.connect();
    pair.run();
    for _ in 0..64 {
        let id = pair.open(CLIENT);
        pair.write(CLIENT, id, &[1; 128 << 10]);
        pair.pass(Duration::from_secs(1));
        assert!(pair.agent().stats().buffered <= pair.agent().stats().credit);
        assert!(pair.agent().stats().credit <= 1 << 20);
    }
    assert!(pair.agent().stats().buffered > 900 << 10);
}

#[test]
fn written_bytes_are_bounded_and_no_stream_is_shut_out() {
    let mut pair = Pair::with(config(Role::Client).queued(1 << 20), config(Role::Gateway));
    pair.connect();
    pair.run();
    let ids: Vec<_> = (0..16).map(|_| pair.open(CLIENT)).collect();
    let written: Vec<_> = ids.iter().map(|id| pair.client.write_slice(*id, &[1; 1 << 20]).unwrap()).collect();
    assert_eq!(written[..2], [256 << 10; 2]);
    assert!(written[10] > 0 && written.iter().sum::<usize>() <= 1 << 20, "{written:?}");
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
fn without_a_carrier_little_is_taken_and_writers_go_on_with_the_next() {
    let mut pair = Pair::connected(1);
    let ids: Vec<_> = (0..100).map(|_| pair.open(CLIENT)).collect();
    pair.cut(1);
    let mut taken = 0;
    for id in &ids {
        let written = pair.client.write_slice(*id, &[1; 1 << 20]).unwrap();
        assert!(written <= 16 << 10);
        taken += written;
    }
    assert!(taken <= 256 << 10);
    assert!(ids.iter().all(|id| pair.client.write_slice(*id, &[1]) == Ok(0)));
    pair.connect();
    pair.run();
    for id in &ids {
        assert_eq!(pair.count(CLIENT, |event| *event == Event::Writable(*id)), 1, "{id}");
    }
}

#[test]
fn bulk_is_answered_by_few_messages() {
    let mut line = Line::usual(2, Duration::from_millis(1));
    let id = line.open();
    line.set_rate(Some(250_000_000));
    line.bulk(AGENT, id, Duration::from_secs(1));
    line.messages = [0; 2];
    let got = line.bulk(AGENT, id, Duration::from_secs(1));
    // One for each 128 KiB would be 1,900.
    assert!(got > 240_000_000 && line.messages[CLIENT] < 700, "{got}, {:?}", line.messages);
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
    // Acknowledgements of bulk wait for more, but not for long.
    (0..10).for_each(|_| pair.pass(Duration::from_millis(20)));
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
        small.to_string(),
        bulk[0].to_string(),
        bulk[1].to_string(),
        bulk[2].to_string(),
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
    assert!(sizes[..2].iter().all(|size| *size > 32_700), "{sizes:?}");
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
    assert!(client_free > 256 << 10 && agent_free > 256 << 10, "{client_free} {agent_free}");
}

#[test]
fn an_idle_stream_is_small() {
    assert!(size_of::<Stream>() <= 512, "{}", size_of::<Stream>());
    assert!(size_of::<Retained>() <= 64, "{}", size_of::<Retained>());
}
