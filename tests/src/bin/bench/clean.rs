//! `clean.seconds`: from the call of `kubetether clean` after a client was killed until nothing of it is left, most of which
//! is the time in which a Lease may still be renewed.

use std::time::Instant;

use kubetether_tests::{App, CLUSTER, Command, Local, scenario};

use crate::figure::Figure;

/// Each takes the better part of a minute.
const RUNS: usize = 3;

pub(crate) fn measure() -> Vec<Figure> {
    let mut took = Vec::new();
    scenario("bench-clean", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        for _ in 0..RUNS {
            let mut command = Command::start(at, &["exchange", "orders", "--to", &local.port().to_string()]);
            command.told("exchange").await;
            let asker = client.ask("http://orders/", 20).await;
            let killed = asker.mark().await;
            command.signal("KILL").await;
            command.ended().await;
            asker.answered_by(CLUSTER, killed, 20).await;
            asker.stop().await;
            let began = Instant::now();
            let ended = Command::start(at, &["clean"]).ended().await;
            took.push(began.elapsed());
            assert_eq!(ended.code, Some(0), "{ended:#?}");
            at.assert_clean().await;
        }
    });
    vec![Figure::seconds("clean.seconds", took, None)]
}
