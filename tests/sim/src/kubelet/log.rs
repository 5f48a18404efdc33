//! What a container has written.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

/// Bytes that are kept of a container; the oldest lines go first.
const KEPT: usize = 1 << 20;
/// The longest line; longer ones are parted.
const LINE: usize = 16 * 1024;

/// The output of one run of a container.
#[derive(Debug)]
pub(crate) struct Log {
    lines: Mutex<Lines>,
    // readers -> who follows: how many lines there were; `u64::MAX` after the last
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<Line>,
    size: usize,
    /// Lines that are kept no more.
    gone: u64,
}

/// One line, without its end.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) time: jiff::Timestamp,
    pub(crate) text: Vec<u8>,
}

impl Log {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { lines: Mutex::default(), count: watch::Sender::new(0) })
    }

    /// Writes down what comes until it ends.
    pub(crate) async fn record(self: Arc<Self>, from: impl AsyncRead + Unpin) {
        let mut from = BufReader::with_capacity(LINE, from);
        let mut text = Vec::new();
        loop {
            let (used, whole) = match from.fill_buf().await {
                Ok([]) | Err(_) => break,
                Ok(bytes) => match bytes.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        text.extend_from_slice(&bytes[..end]);
                        (end + 1, true)
                    }
                    None => {
                        text.extend_from_slice(bytes);
                        (bytes.len(), text.len() >= LINE)
                    }
                },
            };
            from.consume(used);
            if whole {
                self.push(std::mem::take(&mut text));
            }
        }
        if !text.is_empty() {
            self.push(text);
        }
    }

    pub(crate) fn push(&self, text: Vec<u8>) {
        let mut lines = self.lock();
        lines.size += text.len() + 1;
        lines.kept.push_back(Line { time: jiff::Timestamp::now(), text });
        while lines.size > KEPT {
            let Some(oldest) = lines.kept.pop_front() else { break };
            lines.size -= oldest.text.len() + 1;
            lines.gone += 1;
        }
        let count = lines.gone + lines.kept.len() as u64;
        drop(lines);
        self.count.send_replace(count);
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.count.send_replace(u64::MAX);
    }

    /// The lines from number `from` on, and the number of the next.
    pub(crate) fn since(&self, from: u64) -> (Vec<Line>, u64) {
        let lines = self.lock();
        let skip = usize::try_from(from.saturating_sub(lines.gone)).unwrap_or(usize::MAX);
        let new = lines.kept.iter().skip(skip).cloned().collect();
        (new, lines.gone + lines.kept.len() as u64)
    }

    /// Tells when there is more.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
