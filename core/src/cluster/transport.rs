//! A carrier: one WebSocket port-forward through the API server to an agent's control port.
//!
//! Subprotocol `v4.channel.k8s.io` (kubernetes/kubernetes, `pkg/kubelet/portforward` and
//! `apimachinery/pkg/util/httpstream/wsstream`): every message begins with the number of its channel;
//! of one port, channel 0 carries the bytes and channel 1 what went wrong; the first message of each
//! holds the port (u16, little endian). The server takes each *frame* for a message, so a message
//! must never be fragmented; the library sends each in one frame.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::core::Request;
use kubetether_link::{CarrierRead, CarrierWrite};
use tokio_tungstenite::tungstenite::{self, Message};

use super::Cluster;
use crate::{Deadline, Result};

const DATA: u8 = 0;
const ERROR: u8 = 1;

/// The largest message. API servers read 32 KiB at a time.
const MESSAGE: usize = 32 * 1024;

/// Opens a carrier to a port on the loopback of a pod.
pub(crate) async fn dial(
    cluster: &Cluster,
    pod: &str,
    port: u16,
    deadline: Deadline,
) -> Result<(impl CarrierRead + use<>, impl CarrierWrite + use<>)> {
    let object = format!("pods/{pod}/portforward");
    let url = Pod::url_path(&(), Some(cluster.namespace()));
    let request = Request::new(url).portforward(pod, &[port]).map_err(|error| {
        crate::Error::new(crate::ErrorCode::Internal, "a port-forward request of ours is malformed")
            .because(error)
    })?;
    let connection = cluster.request("get", &object, deadline, cluster.client().connect(request)).await?;
    let (sink, stream) = connection.into_stream().split();
    Ok((Reader { stream, header: [true; 2] }, Writer { sink }))
}

/// The receiving half.
struct Reader<S> {
    stream: SplitStream<S>,
    /// Which channels have yet to send the message that holds the port.
    header: [bool; 2],
}

/// The sending half.
struct Writer<S> {
    sink: SplitSink<S, Message>,
}

impl<S> CarrierRead for Reader<S>
where
    S: Stream<Item = tungstenite::Result<Message>> + Send + Unpin + 'static,
{
    async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Some(message) = self.stream.next().await else { return Ok(None) };
            match message.map_err(io::Error::other)? {
                Message::Binary(bytes) => {
                    if let Some(data) = self.unwrap(bytes)? {
                        return Ok(Some(data));
                    }
                }
                Message::Close(_) => return Ok(None),
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}

impl<S> Reader<S> {
    /// The bytes of the stream in a message, if it has any.
    fn unwrap(&mut self, mut message: Bytes) -> io::Result<Option<Bytes>> {
        if message.is_empty() {
            return Ok(None);
        }
        let channel = message.get_u8();
        let first = match self.header.get_mut(usize::from(channel)) {
            Some(first) => std::mem::take(first),
            None => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a channel that was not asked for"));
            }
        };
        if first {
            // The port, which is the one asked for.
            message.advance(message.len().min(2));
        }
        match channel {
            _ if message.is_empty() => Ok(None),
            DATA => Ok(Some(message)),
            ERROR => {
                let text = String::from_utf8_lossy(&message).trim().to_owned();
                Err(io::Error::new(io::ErrorKind::ConnectionRefused, text))
            }
            _ => Ok(None),
        }
    }
}

impl<S> CarrierWrite for Writer<S>
where
    S: Sink<Message, Error = tungstenite::Error> + Send + Unpin + 'static,
{
    // The channel's number; it comes as zero, which is the data channel.
    const HEADROOM: usize = 1;
    const BUFFER: usize = MESSAGE;

    async fn send(&mut self, buffer: BytesMut) -> io::Result<BytesMut> {
        self.sink.send(Message::Binary(buffer.freeze())).await.map_err(io::Error::other)?;
        Ok(BytesMut::new())
    }

    async fn close(&mut self) -> io::Result<()> {
        self.sink.close().await.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    type Fake = stream::Iter<std::vec::IntoIter<tungstenite::Result<Message>>>;

    /// A stream that is also a sink, as `split` wants it.
    struct Both(Fake);

    impl Stream for Both {
        type Item = tungstenite::Result<Message>;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            self.0.poll_next_unpin(cx)
        }
    }

    impl Sink<Message> for Both {
        type Error = tungstenite::Error;
        fn poll_ready(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn start_send(self: std::pin::Pin<&mut Self>, _: Message) -> Result<(), Self::Error> {
            Ok(())
        }
        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn poll_close(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }
    }

    fn reader(messages: &[&[u8]]) -> Reader<Both> {
        let list: Vec<_> =
            messages.iter().map(|message| Ok(Message::Binary(Bytes::copy_from_slice(message)))).collect();
        let (_, stream) = Both(stream::iter(list)).split();
        Reader { stream, header: [true; 2] }
    }

    #[tokio::test]
    async fn ports_are_taken_off_and_data_comes_through() {
        let mut reader = reader(&[&[0, 1, 2], &[1, 1, 2], &[0, 9, 8, 7], &[0]]);
        assert_eq!(reader.recv().await.unwrap().unwrap(), [9, 8, 7].as_slice());
        assert_eq!(reader.recv().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_refusal_comes_in_the_servers_words() {
        let mut reader = reader(&[&[0, 1, 2], &[1, 1, 2], &[1, b'n', b'o', b'\n']]);
        assert_eq!(reader.recv().await.unwrap_err().to_string(), "no");
    }

    #[tokio::test]
    async fn an_unknown_channel_ends_the_carrier() {
        let mut reader = reader(&[&[7, 1, 2]]);
        assert_eq!(reader.recv().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
