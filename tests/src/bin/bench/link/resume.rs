//! `link.resume`: all carriers are cut; how long until bytes flow again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kubetether_tests::proxy::{Cut, Proxy};

use super::place::{Place, beside};
use crate::RUNS;
use crate::figure::Figure;
use crate::wanted::Wanted;

/// Bytes that go before a cut, so that the link is at ease again.
const CALM: usize = 200;

/// By then the link should have ended.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let stream = TcpStream::connect(forward.http());
        let mut stream = stream.unwrap_or_else(|error| panic!("{}: {error}", forward.http()));
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
        set.unwrap_or_else(|error| panic!("{error}"));
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

/// A request and its answer on a connection that stays.
fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: target\r\n\r\n").unwrap_or_else(|error| panic!("{error}"));
    let mut answer = [0; 4096];
    let mut count = 0;
    while !answer[..count].ends_with(b"path=/\n") {
        let read = stream.read(&mut answer[count..]).unwrap_or_else(|error| panic!("{error}"));
        assert!(read > 0, "the connection was dropped");
        count += read;
    }
}
