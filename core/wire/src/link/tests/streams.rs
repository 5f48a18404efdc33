//! Streams as a program sees them.

use super::*;
use crate::RefusalCode;

#[test]
fn a_stream_is_opened_from_either_end() {
    let mut pair = Pair::connected(1);
    for from in [CLIENT, AGENT] {
        let id = pair.open_as(from, &Open::Call);
        pair.write(from, id, b"question");
        pair.run();
        assert_eq!(pair.read(1 - from, id), b"question");
        pair.write(1 - from, id, b"answer");
        pair.run();
        assert_eq!(pair.read(from, id), b"answer");
    }
    assert_eq!(pair.count(AGENT, |event| matches!(event, Event::Incoming(2, Open::Call))), 1);
    assert_eq!(pair.count(CLIENT, |event| matches!(event, Event::Incoming(1, Open::Call))), 1);
}

#[test]
fn nothing_is_open_before_the_far_end_says_so() {
    let mut pair = Pair::connected(1);
    let id = pair.client.open(&Open::Call).unwrap();
    pair.pass(Duration::from_secs(20));
    assert_eq!(pair.client.opened(id), None);
    pair.agent().accept(id);
    pair.run();
    assert_eq!(pair.client.opened(id), Some(Ok(())));
    assert_eq!(pair.count(CLIENT, |event| *event == Event::Answered(id)), 1);
}

#[test]
fn a_refusal_arrives_as_it_was_said() {
    let mut pair = Pair::connected(1);
    let id = pair.client.open(&Open::Call).unwrap();
    // Early data changes nothing about it.
    pair.write(CLIENT, id, b"hello?");
    pair.run();
    let refusal = Refusal::new(RefusalCode::Unreachable, "no route to 10.9.9.9");
    pair.agent().refuse(id, refusal.clone());
    pair.run();
    assert_eq!(pair.client.opened(id), Some(Err(StreamError::Refused(refusal.clone()))));
    assert_eq!(pair.client.read(id, 9), Err(StreamError::Refused(refusal.clone())));
    assert_eq!(pair.client.write_slice(id, b"x"), Err(StreamError::Refused(refusal)));
    pair.client.release(id);
    pair.run();
    assert_eq!((pair.client.stats().streams, pair.agent().stats().streams), (0, 0));
    assert_eq!(pair.agent().stats().buffered, 0);
}

#[test]
fn data_may_go_before_the_answer() {
    let mut pair = Pair::new();
    let id = pair.client.open(&Open::Call).unwrap();
    pair.write(CLIENT, id, b"early");
    pair.client.finish(id);
    pair.connect();
    pair.run();
    pair.agent().accept(id);
    assert_eq!(pair.read(AGENT, id), b"early");
    assert_eq!(pair.agent().read(id, 1), Ok(Read::End));
}

#[test]
fn half_close_is_exact_both_ways() {
    let mut pair = Pair::connected(2);
    let id = pair.open(CLIENT);
    pair.write(CLIENT, id, b"request");
    pair.client.finish(id);
    assert_eq!(pair.client.write_slice(id, b"more"), Err(StreamError::Finished));
    pair.run();
    assert_eq!(pair.read(AGENT, id), b"request");
    assert_eq!(pair.agent().read(id, 1), Ok(Read::End));
    pair.write(AGENT, id, b"answer");
    pair.agent().finish(id);
    pair.run();
    assert_eq!(pair.read(CLIENT, id), b"answer");
    assert_eq!(pair.client.read(id, 1), Ok(Read::End));
    pair.client.release(id);
    pair.agent().release(id);
    pair.run();
    assert_eq!((pair.client.stats().streams, pair.agent().stats().streams), (0, 0));
    // Neither end took it for a cut.
    assert_eq!(pair.count(CLIENT, |event| *event == Event::Cut(id)), 0);
    assert_eq!(pair.count(AGENT, |event| *event == Event::Cut(id)), 0);
}

/// Whether the agent has anything for its carrier.
fn says(pair: &Pair) -> bool {
    pair.agent.as_ref().unwrap().has_output()
}

#[test]
fn who_waits_for_the_opening_has_it_at_once_and_who_does_not_has_it_with_the_answer() {
    for early in [false, true] {
        let mut pair = Pair::connected(1);
        let id = pair.client.open(&dial()).unwrap();
        if early {
            pair.write(CLIENT, id, b"early");
        }
        pair.run();
        pair.agent().accept(id);
        assert_eq!(says(&pair), !early);
        assert!(!pair.agent().is_flushed());
        if early {
            pair.write(AGENT, id, b"answer");
            assert!(says(&pair));
        }
        pair.run();
        assert_eq!(pair.client.opened(id), Some(Ok(())));
        assert!(!says(&pair));
    }
}

#[test]
fn an_opening_whose_answer_does_not_come_waits_for_two_milliseconds() {
    let mut pair = Pair::connected(1);
    let id = pair.client.open(&dial()).unwrap();
    pair.write(CLIENT, id, b"early");
    pair.run();
    pair.agent().accept(id);
    let due = pair.agent().poll_timeout().unwrap();
    assert_eq!(due, pair.now + Duration::from_millis(2));
    pair.agent().handle_timeout(due);
    assert!(says(&pair));
    pair.run();
    assert_eq!(pair.client.opened(id), Some(Ok(())));
}

#[test]
fn the_end_of_who_opened_it_waits_for_company_only_behind_the_other_end() {
    for first in [CLIENT, AGENT] {
        let mut pair = Pair::connected(1);
        let id = pair.open(CLIENT);
        let ends = [first, 1 - first];
        for (turn, end) in ends.into_iter().enumerate() {
            let link = if end == CLIENT { &mut pair.client } else { pair.agent() };
            link.finish(id);
            assert_eq!(link.has_output(), (turn, end) != (1, CLIENT), "{first}: {end} ends");
            pair.run();
        }
    }
}

/// Lets everything arrive on the one carrier, without time passing. Returns how many messages that took.
fn messages(pair: &mut Pair) -> usize {
    let mut sent = 0;
    while pair.transmit() {
        let wire = &pair.wires[&1];
        sent += wire.to_agent.len() + wire.to_client.len();
        while pair.deliver(1) {}
        pair.collect();
    }
    sent
}

#[test]
fn a_short_connection_takes_one_message_each_way() {
    let mut pair = Pair::connected(1);
    let (mut sent, mut before) = (0, None);
    for _ in 0..10 {
        let id = pair.client.open(&dial()).unwrap();
        pair.write(CLIENT, id, b"request");
        sent += messages(&mut pair);
        if let Some(before) = before.replace(id) {
            assert_eq!(pair.agent().read(before, 1), Ok(Read::End));
            pair.agent().release(before);
        }
        pair.agent().accept(id);
        sent += messages(&mut pair);
        assert_eq!(pair.read(AGENT, id), b"request");
        pair.write(AGENT, id, b"answer");
        pair.agent().finish(id);
        sent += messages(&mut pair);
        assert_eq!(pair.read(CLIENT, id), b"answer");
        assert_eq!(pair.client.read(id, 1), Ok(Read::End));
        pair.client.finish(id);
        pair.client.release(id);
        sent += messages(&mut pair);
    }
    assert_eq!(sent, 20);
    // The last end goes alone, when nothing goes that it could go with.
    pair.pass(Duration::from_millis(20));
    assert_eq!(pair.agent().read(before.unwrap(), 1), Ok(Read::End));
}

#[test]
fn a_reset_ends_both_directions_at_once() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    pair.write(AGENT, id, b"unread");
    pair.run();
    pair.client.reset(id, ResetCode::Reset);
    // Also for the reader of the end that did it.
    assert_eq!(pair.client.read(id, 1), Err(StreamError::Cut(ResetCode::Reset)));
    pair.run();
    assert_eq!(pair.agent().read(id, 1), Err(StreamError::Cut(ResetCode::Reset)));
    assert_eq!(pair.agent().write_slice(id, b"x"), Err(StreamError::Cut(ResetCode::Reset)));
    assert_eq!(pair.count(AGENT, |event| *event == Event::Cut(id)), 1);
    pair.client.release(id);
    pair.agent().release(id);
    pair.run();
    assert_eq!((pair.client.stats().streams, pair.agent().stats().streams), (0, 0));
    assert_eq!((pair.client.stats().buffered, pair.agent().stats().buffered), (0, 0));
}

#[test]
fn a_reset_after_data_lets_the_data_be_read() {
    let mut pair = Pair::connected(3);
    let id = pair.open(CLIENT);
    let bytes = noise(100_000);
    pair.write(AGENT, id, &bytes);
    pair.agent().reset_after_data(id, ResetCode::Reset);
    pair.agent().release(id);
    pair.run();
    assert_eq!(pair.client.write_slice(id, b"x"), Err(StreamError::Cut(ResetCode::Reset)));
    assert!(pair.read(CLIENT, id) == bytes);
    assert_eq!(pair.client.read(id, 1), Err(StreamError::Cut(ResetCode::Reset)));
}

#[test]
fn a_dropped_stream_is_cut_and_what_was_finished_is_not() {
    let mut pair = Pair::connected(1);
    let cut = pair.open(CLIENT);
    pair.client.release(cut);
    let done = pair.open(CLIENT);
    pair.write(CLIENT, done, b"all of it");
    pair.client.finish(done);
    pair.client.release(done);
    pair.run();
    assert_eq!(pair.agent().read(cut, 1), Err(StreamError::Cut(ResetCode::Dropped)));
    assert_eq!(pair.read(AGENT, done), b"all of it");
    assert_eq!(pair.agent().read(done, 1), Ok(Read::End));
    assert_eq!(pair.agent().write_slice(done, b"x"), Err(StreamError::Cut(ResetCode::Dropped)));
}

#[test]
fn a_stream_given_up_before_the_answer_is_told() {
    let mut pair = Pair::connected(1);
    let id = pair.client.open(&Open::Call).unwrap();
    pair.run();
    pair.client.release(id);
    pair.run();
    assert_eq!(pair.count(AGENT, |event| *event == Event::Cut(id)), 1);
    pair.agent().accept(id);
    assert_eq!(pair.agent().read(id, 1), Err(StreamError::Cut(ResetCode::Cancelled)));
    pair.agent().release(id);
    pair.run();
    assert_eq!((pair.client.stats().streams, pair.agent().stats().streams), (0, 0));
}

#[test]
fn a_kind_of_a_later_version_is_refused() {
    let mut pair = Pair::connected(1);
    let id = pair.client.open(&Open::Unknown(99)).unwrap();
    pair.run();
    let Some(Err(StreamError::Refused(refusal))) = pair.client.opened(id) else { panic!() };
    assert_eq!(refusal.code, RefusalCode::Unsupported);
    assert_eq!(pair.count(AGENT, |event| matches!(event, Event::Incoming(..))), 0);
}

#[test]
fn there_are_as_many_streams_as_the_ends_allow() {
    let mut pair = Pair::with(config(Role::Client), config(Role::Gateway).max_streams(3));
    pair.connect();
    pair.run();
    let ids: Vec<_> = (0..3).map(|_| pair.client.open(&Open::Call).unwrap()).collect();
    assert_eq!(pair.client.open(&Open::Call), Err(OpenFailure::TooMany(3)));
    pair.client.release(ids[0]);
    pair.run();
    pair.agent().release(ids[0]);
    pair.run();
    assert!(pair.client.open(&Open::Call).is_ok());
}

#[test]
fn streams_come_and_go_without_a_trace() {
    let mut pair = Pair::connected(2);
    for round in 0..2000 {
        let id = pair.open(round % 2);
        pair.write(round % 2, id, b"x");
        pair.end(round % 2).finish(id);
        pair.run();
        if round % 3 == 0 {
            pair.end(1 - round % 2).finish(id);
        }
        pair.client.release(id);
        pair.agent().release(id);
    }
    pair.pass(Duration::from_secs(1));
    for end in [CLIENT, AGENT] {
        let link = pair.end(end);
        assert!(link.is_flushed());
        assert_eq!(link.streams.len(), 0);
        assert_eq!((link.opened_here, link.opened_there), (0, 0));
        assert!(link.forgotten.len() <= 1, "{}", link.forgotten.len());
        assert_eq!(link.receive.buffered(), 0);
    }
}
