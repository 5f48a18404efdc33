//! Opens a local port that leads to a place in the cluster, and asks it for its first bytes.
//!
//! `cargo run -p kubetether --example forward -- HOST:PORT`

use kubetether::{Config, Deadline, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let destination = std::env::args().nth(1).ok_or("usage: forward HOST:PORT")?;
    let session = Session::start(Config::new()).await?;
    let forward = session.forward(destination.as_str()).await?;
    let mut connection = TcpStream::connect(forward.address()).await?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    tokio::io::stdout().write_all(&answer).await?;
    session.close(Deadline::secs(30)).await?;
    Ok(())
}
