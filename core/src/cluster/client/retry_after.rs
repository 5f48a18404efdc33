//! `Retry-After`: seconds, or the moment as an HTTP date.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;

/// How long the server wants us to wait; `None` when it says nothing that can be read. A date is compared with the
/// server's own clock, where it tells it.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = date(text)?;
    let now = headers.get(DATE).and_then(|value| date(value.to_str().ok()?)).unwrap_or_else(Timestamp::now);
    // One that has passed means at once.
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// The one form of HTTP date that is still sent (RFC 9110, 5.6.7), which is RFC 2822's but for the zone's name.
fn date(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let rows = [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            // Half a minute after the server's own clock, whatever ours says.
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            (date, Some(0)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("-7", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            headers.insert(DATE, date.parse().unwrap());
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn without_the_servers_clock_ours_has_to_do() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "Wed, 01 Jan 2200 00:00:00 GMT".parse().unwrap());
        assert!(retry_after(&headers).is_some_and(|after| after > Duration::from_secs(3600)));
    }
}
