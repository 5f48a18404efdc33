//! `session.*`: from the start of a session to the first byte through a forward.

use std::time::{Duration, Instant};

use kubetether::{Config, Session};
use kubetether_tests::{App, CLOSE, Outcome, scenario};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::RUNS;
use crate::figure::Figure;

pub(crate) fn measure() -> Vec<Figure> {
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    scenario("bench-session", async |at| {
        at.shop(&App::orders()).await;
        for _ in 0..RUNS {
            let (first, took) = first_byte(at.config()).await;
            cold.push(took);
            // The first one's gateway runs.
            let (second, took) = first_byte(at.config()).await;
            warm.push(took);
            second.close(CLOSE).await.good();
            first.close(CLOSE).await.good();
        }
    });
    vec![Figure::seconds("session.cold", cold, Some(1.5)), Figure::seconds("session.warm", warm, Some(0.3))]
}

async fn first_byte(config: Config) -> (Session, Duration) {
    let began = Instant::now();
    let session = Session::start(config).await.good();
    let forward = session.forward("orders:80").await.good();
    let read = async {
        let mut stream = TcpStream::connect(forward.address()).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: orders\r\n\r\n").await?;
        stream.read_u8().await
    };
    read.await.unwrap_or_else(|error| panic!("no byte through the forward: {error}"));
    let took = began.elapsed();
    forward.close(CLOSE).await.good();
    (session, took)
}
