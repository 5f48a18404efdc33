//! Slow lines, long ones, and carriers that do not answer.

use super::{line::Line, *};

const MBIT: usize = 125_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What nine of ten requests take at most, and the worst, while bulk goes both ways.
fn requests(line: &mut Line, bulk: &[StreamId]) -> [Duration; 2] {
    let small = line.open();
    let mut all = Vec::new();
    for _ in 0..40 {
        let took = line.ask(small, |line| {
            for id in bulk {
                for end in [CLIENT, AGENT] {
                    line.fill(end, *id);
                    line.drain(end, *id);
                }
            }
        });
        all.push(took);
    }
    all.sort();
    [all[35], all[39]]
}

#[test]
fn small_requests_do_not_wait_behind_bulk_on_a_slow_line() {
    for carriers in [1, 2, 4] {
        let mut line = Line::usual(carriers, ms(200));
        line.set_rate(Some(MBIT));
        let bulk: Vec<_> = (0..3).map(|_| line.open()).collect();
        let mut got = 0;
        line.run_with(Duration::from_secs(10), |line| {
            for id in &bulk {
                for end in [CLIENT, AGENT] {
                    line.fill(end, *id);
                }
                got += line.drain(AGENT, *id);
                line.drain(CLIENT, *id);
            }
        });
        assert!(got > 7 * MBIT, "{carriers} carriers: {got}");
        // Two round trips; a third where each of four carriers has its own least under way; now and then one that comes
        // while more is tried.
        let [most, worst] = requests(&mut line, &bulk);
        assert!(most <= ms(if carriers < 4 { 400 } else { 600 }), "{carriers} carriers: {most:?}");
        assert!(worst <= ms(1000), "{carriers} carriers: {worst:?}");
        for end in [CLIENT, AGENT] {
            // The first moments, before the line is known, are of many answers that come late.
            assert!(line.ends[end].stats().resent < 128 << 10, "{carriers} carriers");
        }
    }
}

#[test]
fn each_carrier_may_have_a_narrow_place_of_its_own() {
    let mut line = Line::usual(2, ms(200));
    line.set_carrier_rate(1, Some(MBIT));
    line.set_carrier_rate(2, Some(8 * MBIT));
    let bulk = [line.open()];
    line.bulk(AGENT, bulk[0], Duration::from_secs(10));
    let got = line.bulk(AGENT, bulk[0], Duration::from_secs(5));
    assert!(got > 9 * MBIT * 4, "{got}");
    let [most, worst] = requests(&mut line, &bulk);
    assert!(most <= ms(500) && worst <= ms(1000), "{most:?}, {worst:?}");
}

#[test]
fn a_line_that_turns_slow_gets_usable_again() {
    let mut line = Line::usual(2, ms(20));
    line.set_rate(Some(800 * MBIT));
    let bulk = [line.open()];
    line.bulk(CLIENT, bulk[0], Duration::from_secs(2));
    line.set_rate(Some(2 * MBIT));
    // What is under way takes its time.
    line.bulk(CLIENT, bulk[0], Duration::from_secs(60));
    let [most, worst] = requests(&mut line, &bulk);
    assert!(most <= ms(300) && worst <= ms(800), "{most:?}, {worst:?}");
    // And fast once more.
    line.set_rate(Some(160 * MBIT));
    line.bulk(CLIENT, bulk[0], Duration::from_secs(2));
    let got = line.bulk(CLIENT, bulk[0], Duration::from_secs(1));
    assert!(got > 150 * MBIT, "{got}");
}

#[test]
fn a_line_that_gets_longer_is_filled_again() {
    let mut line = Line::usual(1, ms(20));
    line.set_rate(Some(80 * MBIT));
    let id = line.open();
    line.bulk(CLIENT, id, Duration::from_secs(3));
    line.set_rtt(ms(300));
    line.bulk(CLIENT, id, Duration::from_secs(15));
    let got = line.bulk(CLIENT, id, Duration::from_secs(4));
    assert!(got > 4 * 70 * MBIT, "{got}");
}

#[test]
fn fast_lines_are_filled_however_long_they_are() {
    for rtt in [0, 20, 100] {
        let mut line = Line::usual(2, ms(rtt));
        line.set_rate(Some(800 * MBIT));
        let id = line.open();
        line.bulk(CLIENT, id, Duration::from_secs(2));
        let got = line.bulk(CLIENT, id, Duration::from_secs(1));
        assert!(got > 760 * MBIT, "{rtt} ms: {got}");
    }
}

#[test]
fn a_long_line_is_filled_soon() {
    for from in [CLIENT, AGENT] {
        let mut line = Line::usual(2, ms(100));
        line.set_rate(Some(2000 * MBIT));
        let id = line.open();
        // Ten round trips; windows that only double would have let 15 MB through.
        let got = line.bulk(from, id, Duration::from_secs(1));
        assert!(got > 25_000_000, "{got}");
    }
}

/// The wait for the next file, for a person who reads: what was learnt of the line is not forgotten at once, but it is in the end.
#[test]
fn a_line_that_was_not_used_for_a_while_is_known_for_a_while() {
    let after = |pause: u64| {
        let mut line = Line::usual(1, ms(100));
        line.set_rate(Some(1600 * MBIT));
        let id = line.open();
        line.bulk(CLIENT, id, Duration::from_secs(3));
        line.run(Duration::from_secs(pause));
        line.bulk(CLIENT, id, ms(500))
    };
    let [soon, late, never] = [5, 15, 600].map(after);
    assert!(soon > 60 * MBIT && late > soon / 2, "{soon} bytes after 5 s, {late} after 15 s");
    assert!(never < late / 2, "{late} bytes after 15 s, {never} after 600 s");
}

#[test]
fn a_carrier_that_does_not_answer_costs_little() {
    for rtt in [2, 100] {
        let mut line = Line::usual(2, ms(rtt));
        let id = line.open();
        for _ in 0..10 {
            line.ask(id, |_| {});
        }
        line.blackhole(1, true);
        let mut worst = Duration::ZERO;
        for _ in 0..20 {
            worst = worst.max(line.ask(id, |_| {}));
        }
        assert!(worst < ms(450 + 12 * rtt), "{rtt} ms: {worst:?}");
        assert_eq!(line.ends[CLIENT].live_carriers(), 2);
        assert_eq!(line.ends[CLIENT].stats().suspects, 1);
        // It answers again before it is taken for dead.
        line.blackhole(1, false);
        line.run(Duration::from_secs(3));
        for end in [CLIENT, AGENT] {
            assert_eq!(line.ends[end].stats().suspects, 0);
            assert_eq!(line.ends[end].stats().carriers_lost, 0);
        }
    }
}

#[test]
fn bulk_goes_on_while_a_carrier_does_not_answer() {
    let mut line = Line::usual(2, ms(20));
    line.set_rate(Some(80 * MBIT));
    let id = line.open();
    line.bulk(CLIENT, id, Duration::from_secs(1));
    line.blackhole(2, true);
    let got = line.bulk(CLIENT, id, Duration::from_secs(4));
    assert!(got > 3 * 80 * MBIT, "{got}");
}

#[test]
fn who_slept_hears_its_peer_before_it_judges() {
    let mut line = Line::usual(2, ms(10));
    let id = line.open();
    // Only the client sleeps: the agent's pings come meanwhile, and are read after the timer.
    let now = line.now + Duration::from_secs(4);
    line.ends[CLIENT].handle_timeout(now + Duration::from_secs(16));
    assert_eq!(line.ends[CLIENT].live_carriers(), 2);
    line.now += Duration::from_secs(20);
    line.ends[AGENT].handle_timeout(line.now);
    line.ask(id, |_| {});
    // Who hears nothing then either is as silent as before.
    line.blackhole(1, true);
    line.blackhole(2, true);
    line.now += Duration::from_secs(20);
    for end in [CLIENT, AGENT] {
        line.ends[end].handle_timeout(line.now);
        assert_eq!(line.ends[end].live_carriers(), 2);
    }
    line.run(Duration::from_secs(6));
    for end in [CLIENT, AGENT] {
        assert_eq!(line.ends[end].live_carriers(), 0);
    }
}

#[test]
fn who_slept_beyond_the_grace_asks_before_it_gives_up() {
    let mut pair = Pair::connected(1);
    let id = pair.open(CLIENT);
    pair.cut(1);
    let now = pair.now + Duration::from_secs(8 * 3600);
    pair.now = now;
    pair.client.handle_timeout(now);
    pair.agent().handle_timeout(now);
    assert_eq!(pair.client.close_reason(), None);
    pair.connect();
    pair.run();
    pair.write(CLIENT, id, b"still here");
    pair.run();
    assert_eq!(pair.read(AGENT, id), b"still here");
    // Without an answer that is the end, but not twice.
    pair.cut(2);
    pair.now += Duration::from_secs(3600);
    let now = pair.now;
    pair.client.handle_timeout(now);
    assert_eq!(pair.client.close_reason(), None);
    pair.client.handle_timeout(now + Duration::from_secs(3600));
    assert_eq!(pair.client.close_reason(), Some(&CloseReason::Lost));
}
