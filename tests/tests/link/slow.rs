//! A thin, long line.

#![allow(clippy::print_stdout, reason = "a test's output is shown when it fails")]

use std::time::Duration;

use kubetether_tests::{CLOSE, LONG, Outcome, Plan, Scene, Told, Traffic, eventually, within_limit};

/// 1 Mbit/s, each way.
const RATE: u64 = 1_000_000 / 8;
const ROUND_TRIP: Duration = Duration::from_millis(200);
/// Round trips in which a small request is answered while bulk runs.
const PROMISE: u64 = 3;
/// Answers from which a median is taken.
const ENOUGH: u64 = 100;

/// Times of answers from now on, of enough of them.
async fn answers(traffic: &Traffic) -> Told {
    traffic.mark().await;
    eventually("answers", LONG, async || {
        let told = traffic.told().await;
        if told.get("marked") >= ENOUGH { Ok(told) } else { Err(told.to_string()) }
    })
    .await
}

#[test]
fn small_requests_are_answered_while_bulk_runs() {
    within_limit("slow", async |at| {
        let scene = Scene::start(at, Plan::quiet().talkers(2, 100).idle(20), |config| config).await;
        let wire = scene.proxy.wire();
        wire.round_trip(ROUND_TRIP);
        wire.throttle(Some(RATE), Some(RATE));
        let (out, into) = tokio::join!(answers(&scene.out), answers(&scene.into));

        let bulk = Plan::quiet().talkers(0, 0).bytes(1 << 20);
        let (bulk_out, bulk_into) = tokio::join!(
            Traffic::here(scene.forward.address(), bulk),
            Traffic::in_pod(at.namespace(), "orders:80", bulk)
        );
        tokio::join!(bulk_out.running(), bulk_into.running());
        let busy = tokio::join!(answers(&scene.out), answers(&scene.into));
        for (who, alone, busy) in [("out", &out, &busy.0), ("into", &into, &busy.1)] {
            println!("{who}: alone {alone}\n{who}: with bulk {busy}");
        }
        // What was begun comes whole.
        tokio::join!(bulk_out.finish(), bulk_into.finish());
        wire.throttle(None, None);
        wire.round_trip(Duration::ZERO);
        let Scene { session, out: traffic_out, into: traffic_into, .. } = scene;
        tokio::join!(traffic_out.finish(), traffic_into.finish());
        session.close(CLOSE).await.good();
        for (who, alone, busy) in [("out", out, busy.0), ("into", into, busy.1)] {
            let (alone, busy) = (alone.get("p50_us"), busy.get("p50_us"));
            assert!(busy < PROMISE * alone, "{who}: {busy} us with bulk, {alone} us without");
        }
    });
}
