//! The cluster's name server, at an address of its own: UDP and TCP.

mod zone;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::store::Store;

/// The port where rights allow it, and the one where they do not.
const PORTS: [u16; 2] = [53, 5353];
/// What fits into an answer by UDP without EDNS.
const PLAIN: u16 = 512;
const DATAGRAM: usize = 4096;
/// A client of TCP that says nothing is left after this.
const SILENCE: Duration = Duration::from_secs(10);

/// The sockets of the name server.
#[derive(Debug)]
pub(crate) struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds both to the first port that can be had.
    pub(crate) async fn bind(address: Ipv4Addr) -> io::Result<(Self, SocketAddr)> {
        let mut last = io::Error::other("no port");
        for port in PORTS {
            let at = SocketAddr::from((address, port));
            let both = async { Ok((UdpSocket::bind(at).await?, TcpListener::bind(at).await?)) };
            match both.await {
                Ok((udp, tcp)) => return Ok((Self { udp, tcp }, at)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Answers until `stop`.
pub(crate) async fn run(store: Arc<Store>, sockets: Sockets, tasks: TaskTracker, stop: CancellationToken) {
    let Sockets { udp, tcp } = sockets;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // An error is an answer that somebody did not take.
            heard = udp.recv_from(&mut buffer) => if let Ok((count, from)) = heard
                && let Some(answer) = answer(&store, &buffer[..count], true)
            {
                let _ = udp.send_to(&answer, from).await;
            },
            accepted = tcp.accept() => if let Ok((stream, _)) = accepted {
                let (store, stop) = (store.clone(), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        // A client's fault ends only its connection.
                        _ = converse(&store, stream) => {}
                        () = stop.cancelled() => {}
                    }
                });
            },
        }
    }
}

async fn converse(store: &Store, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = tokio::time::timeout(SILENCE, stream.read_u16()).await??;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await?;
        let Some(answer) = answer(store, &question, false) else { return Ok(()) };
        stream.write_u16(u16::try_from(answer.len()).unwrap_or(u16::MAX)).await?;
        stream.write_all(&answer).await?;
    }
}

/// The answer to a message; none to what is no question.
fn answer(store: &Store, question: &[u8], datagram: bool) -> Option<Vec<u8>> {
    let asked = Message::from_vec(question).ok()?;
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    answer.metadata.recursion_desired = asked.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    let query = asked.queries.first();
    if let Some(query) = query.filter(|_| asked.metadata.op_code == OpCode::Query) {
        answer.add_query(query.clone());
        zone::answer(store, query, &mut answer);
    } else {
        answer.metadata.response_code = ResponseCode::NotImp;
    }
    let room = asked.edns.as_ref().map_or(PLAIN, |_| asked.max_payload().max(PLAIN));
    if let Some(edns) = asked.edns {
        answer.set_edns(edns);
    }
    let bytes = answer.to_vec().ok()?;
    if datagram && bytes.len() > usize::from(room) {
        return answer.truncate().to_vec().ok();
    }
    Some(bytes)
}
