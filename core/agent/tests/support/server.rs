//! Servers that stand for original pods, and callers that stand for other pods.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::PATIENCE;

/// Answers each connection, when its caller has ended its side, with `name:` and what was said. Gives its address.
pub async fn named(address: IpAddr, name: &'static str) -> SocketAddr {
    serve(address, move |mut socket| async move {
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).await?;
        socket.write_all(name.as_bytes()).await?;
        socket.write_all(b":").await?;
        socket.write_all(&heard).await?;
        socket.shutdown().await
    })
    .await
}

/// Speaks first, as mail and database servers do, then ends.
pub async fn greeting(address: IpAddr, text: &'static str) -> SocketAddr {
    serve(address, move |mut socket| async move {
        socket.write_all(text.as_bytes()).await?;
        socket.shutdown().await?;
        socket.read_to_end(&mut Vec::new()).await?;
        Ok(())
    })
    .await
}

/// Serves each connection in a task of its own.
pub async fn serve<F, S>(address: IpAddr, connection: F) -> SocketAddr
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let local = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let serving = connection(socket);
            // What a caller breaks is seen by the caller.
            tokio::spawn(async move { drop(serving.await) });
        }
    });
    local
}

/// Sends every datagram back with `name:` in front.
pub async fn datagrams(address: IpAddr, name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind((address, 0)).await.unwrap();
    let local = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let answer = [name.as_bytes(), b":", &buffer[..length]].concat();
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    local
}

/// An address where nobody listens.
pub async fn closed(address: IpAddr) -> SocketAddr {
    TcpListener::bind((address, 0)).await.unwrap().local_addr().unwrap()
}

/// Connects, says `text`, ends its side, and gives all of the answer.
pub async fn ask(address: SocketAddr, text: &str) -> io::Result<String> {
    ask_on(TcpStream::connect(address).await?, text).await
}

/// As [`ask`], from an address of the caller's own.
pub async fn ask_from(from: IpAddr, address: SocketAddr, text: &str) -> io::Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    ask_on(socket.connect(address).await?, text).await
}

async fn ask_on(mut socket: TcpStream, text: &str) -> io::Result<String> {
    socket.write_all(text.as_bytes()).await?;
    socket.shutdown().await?;
    rest(&mut socket).await
}

/// Reads until the other side ends, as text.
pub async fn rest(socket: &mut (impl AsyncReadExt + Unpin)) -> io::Result<String> {
    let mut text = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut text)).await.expect("no end comes")?;
    Ok(text)
}

/// Waits for what a reader sees next, as text; it may be less than was written at once.
pub async fn next(socket: &mut (impl AsyncReadExt + Unpin)) -> io::Result<String> {
    let mut buffer = vec![0; 4096];
    let length = timeout(PATIENCE, socket.read(&mut buffer)).await.expect("nothing comes")?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
