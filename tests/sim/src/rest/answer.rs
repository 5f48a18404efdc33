//! Bodies and answers.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::Answer;
use crate::failure::Failure;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// The largest request, as the API server's own limit.
const REQUEST: usize = 3 << 20;

/// An answer of this status that is the value.
pub(crate) fn json_answer(code: u16, value: &Value) -> Answer {
    text_answer(code, "application/json", value.to_string())
}

pub(crate) fn text_answer(code: u16, media_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()).boxed());
    *answer.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::OK);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    answer
}

pub(crate) fn failed(failure: &Failure) -> Answer {
    let mut answer = json_answer(failure.status().as_u16(), &failure.object());
    if let Some(seconds) = failure.retry_after() {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// The whole body of a request.
pub(crate) async fn collect(request: Request<Incoming>) -> Result<Bytes, Failure> {
    let whole = Limited::new(request.into_body(), REQUEST).collect().await;
    let whole = whole.map_err(|error| Failure::new(413, "RequestEntityTooLarge", error.to_string()))?;
    Ok(whole.to_bytes())
}

/// JSON, or YAML where it is no JSON.
pub(crate) fn read_json(body: &[u8]) -> Result<Value, Failure> {
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let error = match serde_json::from_slice(body) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if body.starts_with(b"k8s\0") {
        let message = "the embedded cluster reads JSON and YAML only, not protobuf";
        return Err(Failure::new(415, "UnsupportedMediaType", message));
    }
    let yaml: Option<Value> =
        std::str::from_utf8(body).ok().and_then(|text| serde_saphyr::from_str(text).ok());
    yaml.filter(Value::is_object)
        .ok_or_else(|| Failure::bad_request(format!("the object provided is unrecognized: {error}")))
}
