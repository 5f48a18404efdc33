//! The handshake of a port-forward: the subprotocols that we speak, and the one that the server took.

use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::{Body, UpgradeConnectionError};
use kube::core::Status;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

/// What the server agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subprotocol {
    /// A SPDY connection to the node inside the WebSocket.
    Tunnel,
    /// A channel's number before each message.
    Channels,
}

/// By preference; a server that does not know the first passes the request on to the node, which takes the second.
const KNOWN: [(&str, Subprotocol); 2] =
    [("SPDY/3.1+portforward.k8s.io", Subprotocol::Tunnel), ("v4.channel.k8s.io", Subprotocol::Channels)];

/// What an answer that refuses may take of memory.
const MOST_WORDS: usize = 64 << 10;

/// Makes a WebSocket of a request, offering what stands in [`KNOWN`].
pub(super) async fn upgrade(
    client: &Client,
    request: Request<Vec<u8>>,
) -> kube::Result<(TokioIo<Upgraded>, Subprotocol)> {
    let key = generate_key();
    let response = client.send(with_headers(request, &key)?).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(response).await);
    }
    let subprotocol = agreed(&response, &key).map_err(kube::Error::UpgradeConnection)?;
    let upgraded = hyper::upgrade::on(response)
        .await
        .map_err(|error| kube::Error::UpgradeConnection(UpgradeConnectionError::GetPendingUpgrade(error)))?;
    Ok((TokioIo::new(upgraded), subprotocol))
}

fn with_headers(request: Request<Vec<u8>>, key: &str) -> kube::Result<Request<Body>> {
    let mut request = request.map(Body::from);
    let value =
        |text: &str| HeaderValue::try_from(text).map_err(|error| kube::Error::HttpError(error.into()));
    let offered = KNOWN.map(|(name, _)| name).join(", ");
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, value(key)?);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value(&offered)?);
    Ok(request)
}

/// Whether the answer is the one that RFC 6455 asks for (4.1), and the subprotocol.
fn agreed<B>(response: &Response<B>, key: &str) -> Result<Subprotocol, UpgradeConnectionError> {
    let says = |name, word: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case(word)))
    };
    if !says(header::UPGRADE, "websocket") {
        return Err(UpgradeConnectionError::MissingUpgradeWebSocketHeader);
    }
    if !says(header::CONNECTION, "upgrade") {
        return Err(UpgradeConnectionError::MissingConnectionUpgradeHeader);
    }
    let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    if accepted.is_none_or(|accepted| accepted != &derive_accept_key(key.as_bytes())) {
        return Err(UpgradeConnectionError::SecWebSocketAcceptKeyMismatch);
    }
    let taken = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    let known = KNOWN.iter().find(|(name, _)| taken.is_some_and(|taken| taken.trim() == *name));
    known.map(|(_, subprotocol)| *subprotocol).ok_or(UpgradeConnectionError::SecWebSocketProtocolMismatch)
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
        Status::failure(text.trim(), "Failed to parse error data").with_code(code.as_u16())
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

    fn agreed_on(changes: &[(&'static str, &'static str)]) -> Result<Subprotocol, String> {
        agreed(&answer(changes), "dGhlIHNhbXBsZSBub25jZQ==").map_err(|error| error.to_string())
    }

    #[test]
    fn the_server_chooses() {
        assert_eq!(agreed_on(&[]), Ok(Subprotocol::Channels));
        let tunnel = [("sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io")];
        assert_eq!(agreed_on(&tunnel), Ok(Subprotocol::Tunnel));
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
