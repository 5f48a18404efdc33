//! Waiting for conditions; tests never wait for time.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// For what a pod or a controller has to do: a loaded machine takes its time.
pub const LONG: Duration = Duration::from_secs(60);

/// For what should be there at once.
pub const SHORT: Duration = Duration::from_secs(10);

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Tries until it succeeds, and gives what it gave.
///
/// # Panics
/// After `limit`, with `what` and the last failure.
pub async fn eventually<T, E: Display>(
    what: impl Display,
    limit: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut last = "nothing".to_owned();
    loop {
        let why = match tokio::time::timeout(limit.saturating_sub(began.elapsed()), attempt()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(why)) => why.to_string(),
            Err(_) => format!("the attempt hung; the one before: {last}"),
        };
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}: {why}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        last = why;
    }
}
