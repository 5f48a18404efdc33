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
        assert!(recv.apart.is_empty());
    }
}

#[test]
fn many_small_pieces_behind_a_gap_are_merged() {
    let mut recv = Recv::new(1 << 20);
    for offset in 1..100_000 {
        let _ = recv.data(offset, bytes(offset, offset + 1)).unwrap();
    }
    assert!(recv.apart.len() < 300, "{}", recv.apart.len());
    let _ = recv.data(0, bytes(0, 1)).unwrap();
    assert_eq!(read_all(&mut recv), bytes(0, 100_000));
}

#[test]
fn a_peer_that_leaves_gaps_everywhere_is_stopped() {
    let mut recv = Recv::new(1 << 20);
    let broken = (1..100_000).find(|offset| recv.data(offset * 2, bytes(0, 1)).is_err());
    assert!(broken.is_some_and(|count| count < 20_000));
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
fn credit_is_checked_and_grows_while_the_reader_keeps_up() {
    let mut recv = Recv::new(100);
    assert!(recv.data(90, bytes(0, 11)).is_err());
    let _ = recv.data(0, bytes(0, 100)).unwrap();
    assert_eq!(recv.new_limit(400), None);
    assert!(matches!(recv.take(49), Taken::Chunk(_)));
    assert_eq!(recv.new_limit(400), None);
    assert!(matches!(recv.take(1), Taken::Chunk(_)));
    // Bytes are left: the window stays.
    assert_eq!(recv.new_limit(400), Some(150));
    assert_eq!(read_all(&mut recv).len(), 50);
    // All was read, and all that might be sent was.
    assert_eq!(recv.new_limit(400), Some(200));
    let _ = recv.data(100, bytes(0, 100)).unwrap();
    assert_eq!(read_all(&mut recv).len(), 100);
    assert_eq!(recv.new_limit(400), Some(400));
    // All was read, but much less than might be sent.
    let _ = recv.data(200, bytes(0, 100)).unwrap();
    assert_eq!(read_all(&mut recv).len(), 100);
    assert_eq!(recv.new_limit(400), Some(500));
}
