use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kubetether_link::{End, Refusal, RefusalCode, ResetCode};

use super::ledger::{ENDED, LISTED};
use super::*;
use crate::Stats;

fn forward(ledger: &Ledger, handle: u64) -> Counters {
    ledger.handle(HandleId(handle), "forward", Protocol::Tcp)
}

fn begin(counters: &Counters) -> Counted {
    counters.begin("127.0.0.1:5001".parse().unwrap(), &Arc::from("db:5432"), 40123)
}

fn numbers(flows: &[Flow]) -> Vec<u64> {
    flows.iter().map(|flow| flow.number).collect()
}

#[tokio::test(start_paused = true)]
async fn a_flow_is_open_until_it_has_ended() {
    let ledger = Ledger::default();
    let (one, other) = (forward(&ledger, 1), forward(&ledger, 2));
    let first = begin(&one);
    let second = begin(&other);
    first.tally().sent.fetch_add(7, Ordering::Relaxed);
    second.tally().received.fetch_add(9, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(2)).await;
    let flows = ledger.tell(0);
    assert_eq!((numbers(&flows.open), flows.ended.len(), flows.next), (vec![1, 2], 0, 0));
    let expected = Flow {
        number: 1,
        handle: HandleId(1),
        mode: "forward",
        protocol: Protocol::Tcp,
        from: "127.0.0.1:5001".into(),
        to: "db:5432".into(),
        port: 40123,
        began: flows.open[0].began,
        duration: Duration::from_secs(2),
        sent: 7,
        received: 0,
        end: None,
    };
    assert_eq!(flows.open[0], expected);
    assert_eq!(one.read(), Stats { connections: 1, open: 1, refused: 0, sent: 7, received: 0 });

    // In the order in which they ended; what is over grows no older.
    second.end(FlowEnd::refused(&Refusal::new(RefusalCode::Refused, "os error 111")));
    drop(first);
    tokio::time::advance(Duration::from_secs(2)).await;
    let flows = ledger.tell(0);
    assert_eq!((flows.open.len(), numbers(&flows.ended), flows.missed, flows.next), (0, vec![2, 1], 0, 2));
    assert_eq!(flows.ended[0].end, Some(FlowEnd::Refused("connection refused".into())));
    assert_eq!(flows.ended[1], Flow { end: Some(FlowEnd::Closed), ..expected });
    assert_eq!(numbers(&ledger.tell(1).ended), [1]);
    for nothing_new in [2, 3, u64::MAX] {
        assert_eq!(ledger.tell(nothing_new), Flows { next: 2, ..Flows::default() });
    }
    assert_eq!(one.read(), Stats { connections: 1, open: 0, refused: 0, sent: 7, received: 0 });
    assert_eq!(other.read(), Stats { connections: 1, open: 0, refused: 1, sent: 0, received: 9 });
}

#[test]
fn what_is_forgotten_is_counted() {
    let ledger = Ledger::default();
    let counters = forward(&ledger, 1);
    let more = 10;
    for _ in 0..ENDED + more {
        let flow = begin(&counters);
        flow.tally().sent.fetch_add(1, Ordering::Relaxed);
        flow.end(FlowEnd::Finished);
    }
    let (all, forgotten) = ((ENDED + more) as u64, more as u64);
    let flows = ledger.tell(0);
    assert_eq!((flows.missed, flows.next), (forgotten, all));
    assert_eq!(numbers(&flows.ended), (forgotten + 1..=all).collect::<Vec<_>>());
    assert_eq!(ledger.tell(4).missed, forgotten - 4);
    assert_eq!((ledger.tell(forgotten).missed, ledger.tell(forgotten).ended.len()), (0, ENDED));
    assert_eq!(numbers(&ledger.tell(all - 1).ended), [all]);
    assert_eq!(counters.read().sent, all, "their bytes are not");
}

#[test]
fn of_very_many_open_ones_the_latest_are_told_of() {
    let ledger = Ledger::default();
    // The older ones are those of the later handle.
    let (one, other) = (forward(&ledger, 2), forward(&ledger, 1));
    let old: Vec<_> = (0..LISTED).map(|_| begin(&one)).collect();
    let new: Vec<_> = (0..100).map(|_| begin(&other)).collect();
    let open = numbers(&ledger.tell(0).open);
    assert_eq!(open, (101..=LISTED as u64 + 100).collect::<Vec<_>>());
    assert_eq!((one.read().open, other.read().open), (LISTED as u64, 100));
    drop((old, new));
    assert_eq!(ledger.tell(0).open, []);
}

#[test]
fn each_flow_is_told_of_once_while_others_come_and_go() {
    const FLOWS: u64 = 20_000;
    let ledger = Ledger::default();
    let counters = [forward(&ledger, 1), forward(&ledger, 2)];
    let (mut seen, mut missed, mut next) = (std::collections::BTreeSet::new(), 0, 0);
    std::thread::scope(|scope| {
        let writers = counters.each_ref().map(|counters| {
            scope.spawn(move || {
                for _ in 0..FLOWS {
                    let flow = begin(counters);
                    flow.tally().sent.fetch_add(3, Ordering::Relaxed);
                    flow.tally().received.fetch_add(5, Ordering::Relaxed);
                    flow.end(FlowEnd::Finished);
                }
            })
        });
        loop {
            let done = writers.iter().all(std::thread::ScopedJoinHandle::is_finished);
            let stats = counters[0].read();
            // One of a kind at most is half way.
            assert!(stats.sent.abs_diff(stats.connections * 3) <= 3, "{stats:?}");
            let flows = ledger.tell(next);
            for flow in &flows.ended {
                assert!(seen.insert(flow.number), "twice");
                assert_eq!((flow.sent, flow.received), (3, 5));
            }
            assert!(flows.open.iter().all(|flow| !seen.contains(&flow.number)), "in one list only");
            missed += flows.missed;
            assert_eq!(flows.next, next + flows.missed + flows.ended.len() as u64);
            next = flows.next;
            if done {
                break;
            }
        }
    });
    assert_eq!((seen.len() as u64 + missed, next), (2 * FLOWS, 2 * FLOWS));
    let expected = Stats { connections: FLOWS, open: 0, refused: 0, sent: FLOWS * 3, received: FLOWS * 5 };
    assert_eq!(counters.map(|counters| counters.read()), [expected; 2]);
}

#[test]
fn how_a_flow_ended_is_told_from_the_side_of_the_user() {
    for (end, expected) in [
        (End::Finished, FlowEnd::Finished),
        (End::Wanted, FlowEnd::Closed),
        (End::SocketReset, FlowEnd::ResetHere),
        (End::StreamReset(ResetCode::Reset), FlowEnd::ResetThere),
        (End::StreamReset(ResetCode::Cancelled), FlowEnd::GivenUp),
        (End::StreamReset(ResetCode::LinkLost), FlowEnd::Lost("link lost".into())),
        (End::StreamReset(ResetCode::AgentRestarted), FlowEnd::Lost("agent restarted".into())),
        (End::StreamReset(ResetCode::Dropped), FlowEnd::Lost("dropped".into())),
    ] {
        assert_eq!(FlowEnd::of(end), expected);
    }
    assert_eq!(FlowEnd::cut(ResetCode::Unreachable), FlowEnd::Refused("unreachable".into()));
    let refusal = Refusal::new(RefusalCode::Limit, "no descriptor");
    assert_eq!(FlowEnd::refused(&refusal), FlowEnd::Refused("limit reached: no descriptor".into()));
    assert_eq!(FlowEnd::Lost("link lost".into()).to_string(), "lost: link lost");
}

#[test]
fn a_long_reason_is_cut_and_a_flow_whose_task_panics_is_lost() {
    let ledger = Ledger::default();
    let counters = forward(&ledger, 1);
    begin(&counters).end(FlowEnd::Refused("ä".repeat(1000)));
    let flow = begin(&counters);
    let panicked = std::thread::spawn(move || {
        let _flow = flow;
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    let ends: Vec<_> = ledger.tell(0).ended.into_iter().filter_map(|flow| flow.end).collect();
    let expected = format!("{}…", "ä".repeat(200));
    assert_eq!(ends, [FlowEnd::Refused(expected), FlowEnd::Lost("a fault of kubetether itself".into())]);
}
