//! The life of a connection in steps, each of which has its memory for as long as it lasts.
//!
//! A future is as big as the biggest thing it ever waits for. Connections are dialled for milliseconds and open for
//! hours: what looks up a name and tries addresses must not be kept for all of that, since there may be 10,000.

use std::pin::Pin;

/// What is to be done now.
pub(crate) enum Step {
    /// It gives what is to be done next.
    Next(Pin<Box<dyn Future<Output = Option<Self>> + Send>>),
    /// Nothing comes after it.
    Last(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Step {
    pub(crate) fn next(step: impl Future<Output = Option<Self>> + Send + 'static) -> Self {
        Self::Next(Box::pin(step))
    }

    /// Make `step` of what it needs, not of a future: that would be in it twice, once as it came and once as it runs.
    pub(crate) fn last(step: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::Last(Box::pin(step))
    }
}

/// Does all steps; keeps `guard` until then.
pub(crate) async fn run<G>(first: Step, guard: G) {
    let mut step = first;
    loop {
        let next = match step {
            Step::Next(step) => step.await,
            Step::Last(step) => {
                step.await;
                None
            }
        };
        match next {
            Some(next) => step = next,
            None => break,
        }
    }
    drop(guard);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn steps_are_done_and_are_small_in_between() {
        let guard = std::sync::Arc::new(());
        let big = [0_u8; 5000];
        let first = Step::next(async move {
            tokio::task::yield_now().await;
            assert!(big.iter().all(|byte| *byte == 0));
            Some(Step::last(async { tokio::task::yield_now().await }))
        });
        let running = run(first, std::sync::Arc::clone(&guard));
        assert!(size_of_val(&running) < 200);
        running.await;
        assert_eq!(std::sync::Arc::strong_count(&guard), 1);
    }
}
