//! The handshake of a port-forward: what we offer, and what the server took.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::{Body, UpgradeConnectionError};
use kube::core::Status;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use crate::cluster::api::UNREADABLE;

/// What the connection is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// SPDY itself.
    Spdy,
    /// A WebSocket with one of the [`SUBPROTOCOLS`].
    WebSocket,
}

/// What the server agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// A SPDY connection to the node.
    Spdy,
    /// One inside the messages of a WebSocket.
    Tunnel,
    /// In a WebSocket, a channel's number before each message.
    Channels,
}

/// By preference; a server that does not know the first passes the request on to the node, which takes the second.
const SUBPROTOCOLS: [(&str, Framing); 2] =
    [("SPDY/3.1+portforward.k8s.io", Framing::Tunnel), ("v4.channel.k8s.io", Framing::Channels)];

/// What the node is to do with a SPDY connection (kubernetes/kubernetes, `apimachinery/pkg/util/httpstream`).
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const PORT_FORWARD: &str = "portforward.k8s.io";
const SPDY: &str = "SPDY/3.1";

/// What an answer that refuses may take of memory.
const MOST_WORDS: usize = 64 << 10;

/// Makes of a request the connection that it offers.
pub(super) async fn upgrade(
    client: &Client,
    request: Request<Vec<u8>>,
    offer: Offer,
) -> kube::Result<(TokioIo<Upgraded>, Framing)> {
    let key = generate_key();
    let mut request = request.map(Body::from);
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    match offer {
        Offer::Spdy => ask_for_spdy(request.headers_mut()),
        Offer::WebSocket => ask_for_websocket(request.headers_mut(), &key)?,
    }
    let response = client.send(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(response).await);
    }
    let agreed = match offer {
        Offer::Spdy => agreed_on_spdy(&response),
        Offer::WebSocket => agreed_on_websocket(&response, &key),
    };
    let framing = agreed.map_err(kube::Error::UpgradeConnection)?;
    let upgraded = hyper::upgrade::on(response)
        .await
        .map_err(|error| kube::Error::UpgradeConnection(UpgradeConnectionError::GetPendingUpgrade(error)))?;
    Ok((TokioIo::new(upgraded), framing))
}

fn ask_for_spdy(headers: &mut HeaderMap) {
    headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
    headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(PORT_FORWARD));
}

fn ask_for_websocket(headers: &mut HeaderMap, key: &str) -> kube::Result<()> {
    let value =
        |text: &str| HeaderValue::try_from(text).map_err(|error| kube::Error::HttpError(error.into()));
    let offered = SUBPROTOCOLS.map(|(name, _)| name).join(", ");
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, value(key)?);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value(&offered)?);
    Ok(())
}

/// Whether the answer changes the protocol to SPDY, for what was asked.
fn agreed_on_spdy<B>(response: &Response<B>) -> Result<Framing, UpgradeConnectionError> {
    if !says(response, header::UPGRADE, SPDY) || !says(response, header::CONNECTION, "upgrade") {
        return Err(UpgradeConnectionError::ProtocolSwitch(response.status()));
    }
    // Left out by those who know only one.
    if response.headers().contains_key(STREAM_PROTOCOL) && !says(response, STREAM_PROTOCOL, PORT_FORWARD) {
        return Err(UpgradeConnectionError::ProtocolSwitch(response.status()));
    }
    Ok(Framing::Spdy)
}

/// Whether the answer is the one that RFC 6455 asks for (4.1), and the subprotocol.
fn agreed_on_websocket<B>(response: &Response<B>, key: &str) -> Result<Framing, UpgradeConnectionError> {
    if !says(response, header::UPGRADE, "websocket") {
        return Err(UpgradeConnectionError::MissingUpgradeWebSocketHeader);
    }
    if !says(response, header::CONNECTION, "upgrade") {
        return Err(UpgradeConnectionError::MissingConnectionUpgradeHeader);
    }
    let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    if accepted.is_none_or(|accepted| accepted != &derive_accept_key(key.as_bytes())) {
        return Err(UpgradeConnectionError::SecWebSocketAcceptKeyMismatch);
    }
    let taken = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let known = SUBPROTOCOLS.iter().find(|(name, _)| taken.is_some_and(|taken| taken.trim() == *name));
    known.map(|(_, framing)| *framing).ok_or(UpgradeConnectionError::SecWebSocketProtocolMismatch)
}

/// Whether a header's list has a word.
fn says<B>(response: &Response<B>, name: HeaderName, word: &str) -> bool {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case(word)))
}

/// The error of an answer that is no upgrade, as kube's own calls give it.
async fn refused(response: Response<Body>) -> kube::Error {
    let code = response.status();
    if !code.is_client_error() && !code.is_server_error() {
        return kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code));
    }
    let body = http_body_util::Limited::new(response.into_body(), MOST_WORDS).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let status = serde_json::from_slice::<Status>(&body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&body);
        Status::failure(text.trim(), UNREADABLE).with_code(code.as_u16())
    });
    kube::Error::Api(status.boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(changes: &[(&'static str, &'static str)]) -> Response<()> {
        let mut response = Response::new(());
        let usual = [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            // Of the key in RFC 6455.
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", "v4.channel.k8s.io"),
        ];
        for (name, value) in usual.iter().chain(changes) {
            response.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        response
    }

    fn agreed_on(changes: &[(&'static str, &'static str)]) -> Result<Framing, String> {
        agreed_on_websocket(&answer(changes), "dGhlIHNhbXBsZSBub25jZQ==").map_err(|error| error.to_string())
    }

    #[test]
    fn the_server_chooses() {
        assert_eq!(agreed_on(&[]), Ok(Framing::Channels));
        let tunnel = [("sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io")];
        assert_eq!(agreed_on(&tunnel), Ok(Framing::Tunnel));
    }

    #[test]
    fn spdy_is_taken_or_not() {
        let agreed = |changes: &[_]| agreed_on_spdy(&answer(changes)).map_err(|error| error.to_string());
        assert_eq!(agreed(&[("upgrade", "SPDY/3.1")]), Ok(Framing::Spdy));
        let named = ("x-stream-protocol-version", "portforward.k8s.io");
        assert_eq!(agreed(&[("upgrade", "spdy/3.1"), named]), Ok(Framing::Spdy));
        let (spdy, other) = (("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v4.channel.k8s.io"));
        for changes in [&[][..], &[("upgrade", "SPDY/2")], &[spdy, ("connection", "close")], &[spdy, other]] {
            assert!(agreed(changes).is_err(), "{changes:?}");
        }
    }

    #[test]
    fn another_answer_is_none() {
        for (name, value) in [
            ("upgrade", "h2c"),
            ("connection", "close"),
            ("sec-websocket-accept", "AAAAMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ] {
            assert!(agreed_on(&[(name, value)]).is_err(), "{name}: {value}");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_kubes() {
        let refusal = |code, text: &str| {
            let mut response = Response::new(Body::from(text.as_bytes().to_vec()));
            *response.status_mut() = code;
            refused(response)
        };
        let told = r#"{"kind":"Status","status":"Failure","message":"no","reason":"Forbidden","code":403}"#;
        let kube::Error::Api(status) = refusal(StatusCode::FORBIDDEN, told).await else { panic!() };
        assert_eq!((status.code, status.reason.as_str(), status.message.as_str()), (403, "Forbidden", "no"));
        let kube::Error::Api(status) = refusal(StatusCode::BAD_GATEWAY, " sorry\n").await else { panic!() };
        assert_eq!((status.code, status.message.as_str()), (502, "sorry"));
        let error = refusal(StatusCode::OK, "").await;
        assert!(matches!(
            error,
            kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(StatusCode::OK))
        ));
    }
}
