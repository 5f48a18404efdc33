use super::*;

fn read_all(recv: &mut Recv) -> Vec<u8> {
    let mut all = Vec::new();
    while let Taken::Chunk(bytes) = recv.take(usize::MAX) {
        all.extend_from_slice(&bytes);
    }
    all
}

fn bytes(from: u64, to: u64) -> Bytes {
    (from..to).map(|byte| byte as u8).collect()
}

#[test]
fn segments_in_any_order_and_overlapping_become_the_stream() {
    let pieces = [(40, 60), (10, 20), (15, 45), (0, 5), (70, 80), (3, 12), (55, 75), (0, 80)];
    // Every rotation: another order of arrival.
    for turn in 0..pieces.len() {
        let mut recv = Recv::new(1000);
        let mut sent = 0;
        for index in 0..pieces.len() {
            let (from, to) = pieces[(turn + index) % pieces.len()];
            sent += recv.data(from, bytes(from, to)).unwrap().sent;
        }
        assert_eq!(sent, 80);
        assert_eq!(read_all(&mut recv), bytes(0, 80), "turn {turn}");
        assert!(recv.ahead.is_none());
    }
}

#[test]
fn small_and_big_pieces_behind_gaps_in_any_order_become_the_stream() {
    let pieces =
        [(5000, 15_000), (100, 200), (12_000, 25_000), (4000, 6000), (90, 4500), (25_000, 25_001), (0, 95)];
    for turn in 0..pieces.len() {
        let mut recv = Recv::new(1 << 20);
        for index in 0..pieces.len() {
            let (from, to) = pieces[(turn + index) % pieces.len()];
            let _ = recv.data(from, bytes(from, to)).unwrap();
        }
        assert!(read_all(&mut recv) == bytes(0, 25_001), "turn {turn}");
        assert!(recv.ahead.is_none());
    }
}

#[test]
fn a_gap_after_every_byte_is_borne() {
    let mut recv = Recv::new(1 << 20);
    for offset in (1..200_000).step_by(2) {
        let _ = recv.data(offset, bytes(offset, offset + 1)).unwrap();
    }
    for offset in (0..200_000).step_by(2) {
        let _ = recv.data(offset, bytes(offset, offset + 1)).unwrap();
    }
    assert!(read_all(&mut recv) == bytes(0, 200_000));
}

#[test]
fn a_cut_ends_also_what_is_in_blocks() {
    let mut recv = Recv::new(1000);
    let _ = recv.data(1, bytes(1, 100)).unwrap();
    let _ = recv.reset(ResetCode::Reset, 100, 50).unwrap();
    let _ = recv.data(0, bytes(0, 1)).unwrap();
    assert_eq!(read_all(&mut recv), bytes(0, 50));
    assert_eq!(recv.take(1), Taken::Cut(ResetCode::Reset));
}

#[test]
fn end_of_stream_is_seen_after_the_last_byte() {
    let mut recv = Recv::new(100);
    assert_eq!(recv.finish(10).unwrap(), Counted { sent: 10, freed: 0 });
    assert_eq!(recv.take(9), Taken::Nothing);
    let _ = recv.data(0, bytes(0, 10)).unwrap();
    assert!(recv.wake());
    assert!(!recv.wake());
    assert_eq!(read_all(&mut recv), bytes(0, 10));
    assert_eq!(recv.take(9), Taken::End);
    assert!(recv.data(10, bytes(10, 11)).is_err());
    assert!(recv.finish(11).is_err());
}

#[test]
fn a_cut_comes_after_the_bytes_it_delivers() {
    let mut recv = Recv::new(100);
    let _ = recv.data(20, bytes(20, 50)).unwrap();
    let counted = recv.reset(ResetCode::Reset, 60, 30).unwrap();
    assert_eq!(counted, Counted { sent: 10, freed: 30 });
    assert_eq!(recv.take(100), Taken::Nothing);
    let _ = recv.data(0, bytes(0, 25)).unwrap();
    assert!(recv.wake());
    assert_eq!(read_all(&mut recv), bytes(0, 30));
    assert_eq!(recv.take(100), Taken::Cut(ResetCode::Reset));
}

#[test]
fn an_end_is_an_end_also_when_a_cut_overtook_it() {
    let mut recv = Recv::new(100);
    let _ = recv.reset(ResetCode::Dropped, 10, 10).unwrap();
    let _ = recv.finish(10).unwrap();
    let _ = recv.data(0, bytes(0, 10)).unwrap();
    assert_eq!(read_all(&mut recv), bytes(0, 10));
    assert_eq!(recv.take(1), Taken::End);
}

#[test]
fn what_is_thrown_away_is_free() {
    let mut recv = Recv::new(100);
    let _ = recv.data(0, bytes(0, 10)).unwrap();
    let _ = recv.data(20, bytes(20, 30)).unwrap();
    assert_eq!(recv.discard(), 30);
    assert_eq!(recv.data(30, bytes(30, 40)).unwrap(), Counted { sent: 10, freed: 10 });
    assert_eq!(recv.data(10, bytes(10, 20)).unwrap(), Counted::default());
    assert_eq!(recv.reset(ResetCode::Dropped, 50, 0).unwrap(), Counted { sent: 10, freed: 10 });
}

#[test]
fn credit_is_told_when_a_quarter_is_used() {
    let tuning = Tuning { now: None, rtt: Duration::ZERO, first: 100, most: 100, growth: 0 };
    let mut recv = Recv::new(100);
    assert!(recv.data(90, bytes(0, 11)).is_err());
    let _ = recv.data(0, bytes(0, 100)).unwrap();
    assert!(matches!(recv.take(24), Taken::Chunk(_)));
    assert!(!recv.raise(&tuning));
    assert!(matches!(recv.take(1), Taken::Chunk(_)));
    assert!(recv.raise(&tuning));
    assert_eq!(recv.limit(), 125);
}

/// Reads all that a peer sends as fast as it may, `rate` bytes each millisecond, and returns the window in the end.
fn window_at(rate: u64, rtt: u64, growth: u64) -> u64 {
    let (mut recv, mut now) = (Recv::new(1000), Instant::now());
    // Limits, as the peer learns of them.
    let mut told = std::collections::VecDeque::from(vec![1000; rtt as usize + 1]);
    let mut sent = 0;
    for _ in 0..100 * rtt {
        now += Duration::from_millis(1);
        told.push_back(recv.limit());
        let may = told.pop_front().unwrap();
        let next = (sent + rate).min(may);
        let _ = recv.data(sent, bytes(sent, next)).unwrap();
        sent = next;
        read_all(&mut recv);
        let rtt = Duration::from_millis(rtt);
        recv.raise(&Tuning { now: Some(now), rtt, first: 1000, most: 1 << 30, growth });
    }
    recv.window
}

#[test]
fn a_window_grows_to_what_the_way_holds_and_no_further() {
    for (rate, rtt) in [(1000, 20), (1000, 100), (50, 100)] {
        let window = window_at(rate, rtt, 1 << 30);
        assert!((rate * rtt..=rate * rtt * 4).contains(&window), "{rate} {rtt}: {window}");
    }
    assert_eq!(window_at(1000, 100, 0), 1000);
}

#[test]
fn the_window_of_a_slow_reader_stays_and_one_that_is_not_used_falls_back() {
    let mut now = Instant::now();
    let tuning = |now| Tuning {
        now: Some(now),
        rtt: Duration::from_secs(1),
        first: 1000,
        most: 1 << 20,
        growth: 1 << 20,
    };
    let mut recv = Recv::new(1000);
    let (mut sent, mut window) = (0, 0);
    for round in 0..200 {
        let _ = recv.data(sent, bytes(sent, recv.limit())).unwrap();
        sent = recv.limit();
        // Always something left.
        assert!(matches!(recv.take(900), Taken::Chunk(_)), "{round}");
        recv.raise(&tuning(now));
        window = recv.window;
    }
    assert_eq!(window, 1000);
    for _ in 0..10 {
        let _ = recv.data(sent, bytes(sent, recv.limit())).unwrap();
        sent = recv.limit();
        read_all(&mut recv);
        recv.raise(&tuning(now));
    }
    assert!(recv.window > 100_000, "{}", recv.window);
    let (before, grown) = recv.growth(1000);
    assert_eq!((before, grown), (0, recv.limit() - recv.read - 1000));
    for _ in 0..20 {
        now += WATCH;
        let _ = recv.data(sent, bytes(sent, sent + 1)).unwrap();
        sent += 1;
        read_all(&mut recv);
        recv.raise(&tuning(now));
    }
    assert_eq!(recv.window, 1000);
    // What was told stays told, until it is used.
    assert_eq!(recv.growth(1000), (grown, grown - 20));
}

#[test]
fn a_cut_that_was_told_stays() {
    // All bytes are delivered before the cut, and the FIN that was said before it comes behind it.
    let mut recv = Recv::new(100);
    let _ = recv.data(0, bytes(0, 10)).unwrap();
    let _ = recv.reset(ResetCode::TimedOut, 10, 10).unwrap();
    assert_eq!(read_all(&mut recv), bytes(0, 10));
    assert_eq!(recv.take(1), Taken::Cut(ResetCode::TimedOut));
    let _ = recv.finish(10).unwrap();
    assert_eq!(recv.take(1), Taken::Cut(ResetCode::TimedOut));
    recv.lose(ResetCode::LinkLost);
    assert_eq!(recv.take(1), Taken::Cut(ResetCode::TimedOut));
    // Who was not told yet sees the end as it was said.
    let mut recv = Recv::new(100);
    let _ = recv.reset(ResetCode::TimedOut, 0, 0).unwrap();
    let _ = recv.finish(0).unwrap();
    assert_eq!((recv.take(1), recv.take(1)), (Taken::End, Taken::End));
}
