//! Takes a Service's traffic to a port of this machine until Enter is pressed.
//!
//! `cargo run -p kubetether --example exchange -- SERVICE PORT`

use kubetether::{Config, Deadline, Session, To};
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(service), Some(port)) = (arguments.next(), arguments.next()) else {
        return Err("usage: exchange SERVICE PORT".into());
    };
    let session = Session::start(Config::new()).await?;
    let exchange = session.exchange(service, To::port(port.parse()?)).await?;
    tracing::info!(service = exchange.service(), state = %exchange.state(), "exchanged");
    tokio::io::stdin().read_u8().await?;
    session.close(Deadline::secs(30)).await?;
    Ok(())
}
