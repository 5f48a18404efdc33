//! The life of a connection in steps, each of which has its memory for as long as it lasts.
//!
//! A future is as big as the biggest thing it ever waits for. Connections are dialled for milliseconds and open for
//! hours: what looks up a name and tries addresses must not be kept for all of that, since there may be 10,000.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What is to be done now, and gives what is to be done next. A task of one is as small as a task can be: what a connection
/// holds is held by its steps.
pub(crate) struct Step(Pin<Box<dyn Future<Output = Option<Self>> + Send>>);

impl Step {
    pub(crate) fn new(step: impl Future<Output = Option<Self>> + Send + 'static) -> Self {
        Self(Box::pin(step))
    }
}

/// Does it, and all that follow.
impl Future for Step {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(next) = ready!(self.0.as_mut().poll(cx)) {
            *self = next;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn steps_are_done_and_are_small_in_between() {
        let guard = std::sync::Arc::new(());
        let (big, held) = ([0_u8; 5000], std::sync::Arc::clone(&guard));
        let first = Step::new(async move {
            tokio::task::yield_now().await;
            assert!(big.iter().all(|byte| *byte == 0));
            Some(Step::new(async move {
                tokio::task::yield_now().await;
                drop(held);
                None
            }))
        });
        assert_eq!(size_of_val(&first), 16);
        first.await;
        assert_eq!(std::sync::Arc::strong_count(&guard), 1);
    }
}
