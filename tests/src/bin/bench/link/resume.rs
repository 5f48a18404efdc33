//! `link.resume`: all carriers are cut; how long until bytes flow again.

use std::time::Instant;

use kubetether_tests::proxy::{Cut, Proxy};

use super::http::{ask, connect};
use super::place::{Place, beside};
use crate::RUNS;
use crate::figure::Figure;
use crate::wanted::Wanted;

/// Bytes that go before a cut, so that the link is at ease again.
const CALM: usize = 200;

pub(crate) fn measure(_: &Wanted) -> Vec<Figure> {
    let mut figures = Vec::new();
    beside("bench-link-resume", async |place| figures.push(resume(place).await));
    figures
}

async fn resume(place: &Place<'_>) -> Figure {
    let proxy = Proxy::tcp(place.kubeconfig()).await;
    let proxy = proxy.unwrap_or_else(|error| panic!("the proxy: {error}"));
    let forward = place.forward_by(&proxy.kubeconfig()).await;
    let times = tokio::task::block_in_place(|| {
        let mut stream = connect(forward.http());
        let mut times = Vec::new();
        for _ in 0..RUNS {
            (0..CALM).for_each(|_| ask(&mut stream));
            assert!(proxy.wire().cut(Cut::All) >= 2, "there were no carriers to cut");
            let began = Instant::now();
            // The answer comes once a carrier is up again.
            ask(&mut stream);
            times.push(began.elapsed());
        }
        times
    });
    forward.end().await;
    proxy.close().await;
    Figure::seconds("link.resume", times, Some(1.0))
}
