//! `exchange.*`: from the call to proven, from the close to restored, and what callers lose by either.

use std::time::Instant;

use kubetether::To;
use kubetether_tests::{App, CLOSE, CLUSTER, LOCAL, Local, Outcome, scenario};

use crate::RUNS;
use crate::figure::Figure;

/// Answers in a row after which a change is over for a caller.
const SETTLED: usize = 25;

pub(crate) fn measure() -> Vec<Figure> {
    let (mut cold, mut warm, mut close) = (Vec::new(), Vec::new(), Vec::new());
    let (mut start_lost, mut stop_lost) = (Vec::new(), Vec::new());
    scenario("bench-exchange", async |at| {
        let client = at.shop(&App::orders().replicas(2)).await;
        let local = Local::http();
        for _ in 0..RUNS {
            let session = at.session().await;
            // Cold, then warm: the session keeps the interceptor.
            for times in [&mut cold, &mut warm] {
                let asker = client.ask("http://orders/", 20).await;
                let before = asker.mark().await;
                let began = Instant::now();
                let exchange = session.exchange("orders", To::port(local.port())).await.good();
                times.push(began.elapsed());
                asker.answered_by(LOCAL, asker.mark().await, SETTLED).await;

                let between = asker.mark().await;
                let began = Instant::now();
                exchange.close(CLOSE).await.good();
                close.push(began.elapsed());
                asker.answered_by(CLUSTER, asker.mark().await, SETTLED).await;
                let after = asker.report(between);
                let whole = asker.stop().await;
                stop_lost.push(after.lost().len());
                start_lost.push(whole.from(before).lost().len() - after.lost().len());
            }
            session.close(CLOSE).await.good();
        }
    });
    vec![
        Figure::seconds("exchange.cold", cold, Some(2.0)),
        Figure::seconds("exchange.warm", warm, Some(0.5)),
        Figure::seconds("exchange.close", close, None),
        Figure::lost("exchange.start.lost", &start_lost),
        Figure::lost("exchange.stop.lost", &stop_lost),
    ]
}
