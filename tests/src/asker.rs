//! A client that asks all the time, and what it met.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::AttachedProcess;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::wait::LONG;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it began, in milliseconds of the asker's own clock.
    pub start: u64,
    /// How long it took, in microseconds.
    pub took: u64,
    /// Who answered, or the fault's word.
    pub outcome: Result<String, String>,
}

/// Between two looks at what was answered: each goes through all of it.
const LOOK: Duration = Duration::from_millis(20);

/// A moment of an asker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

impl Mark {
    /// The time since an earlier one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// What an asker met since a moment.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order of their start.
    pub answers: Vec<Answer>,
}

/// An endless loop of requests by new connections, in a client pod or on this machine.
pub struct Asker {
    // Its end is the command's end.
    _process: Process,
    stdin: Box<dyn AsyncWrite + Send + Unpin>,
    answers: Arc<Mutex<Vec<Answer>>>,
    // reader task -> whoever waits: how many answers there are; closed when the command is over
    count: watch::Receiver<usize>,
    reader: JoinHandle<()>,
}

#[expect(dead_code, reason = "held for its end")]
enum Process {
    InPod(AttachedProcess),
    Here(Child),
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Asker").field(&*self.count.borrow()).finish()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Asker {
    pub(crate) fn in_pod(mut process: AttachedProcess) -> Self {
        let stdin = process.stdin().expect("it was asked for");
        let stdout = process.stdout().expect("it was asked for");
        Self::new(Process::InPod(process), stdin, stdout)
    }

    pub(crate) fn here(mut process: Child) -> Self {
        let stdin = process.stdin.take().expect("it is piped");
        let stdout = process.stdout.take().expect("it is piped");
        Self::new(Process::Here(process), stdin, stdout)
    }

    fn new(
        process: Process,
        stdin: impl AsyncWrite + Send + Unpin + 'static,
        stdout: impl AsyncRead + Send + Unpin + 'static,
    ) -> Self {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let (send, count) = watch::channel(0);
        let reader = tokio::spawn(read(stdout, Arc::clone(&answers), send));
        Self { _process: process, stdin: Box::new(stdin), answers, count, reader }
    }

    /// A moment just after the next answer: what begins after it begins after this call.
    ///
    /// # Panics
    /// When none comes.
    pub async fn mark(&self) -> Mark {
        let known = *self.count.borrow();
        self.until("any answer", |answers| {
            // Not the next one's own: it may have begun long ago.
            let last = answers.iter().map(|answer| answer.start).max();
            last.filter(|_| answers.len() > known).map(|start| Mark(start + 1))
        })
        .await
    }

    /// Waits until requests begun after `since` are answered by `name`, `count` of them in a row; gives
    /// the moment the first of those began.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn answered_by(&self, name: &str, since: Mark, count: usize) -> Mark {
        self.until(&format!("{count} answers of {name} in a row"), |answers| {
            let answers = since_start(answers, since);
            let found = answers.windows(count).find(|run| run.iter().all(|answer| is(answer, name)));
            found.map(|run| Mark(run[0].start))
        })
        .await
    }

    /// What came of the requests begun after `since` so far.
    #[must_use]
    pub fn report(&self, since: Mark) -> Report {
        Report { answers: since_start(&self.lock(), since) }
    }

    /// Stops asking, waits for what is under way, and gives everything.
    ///
    /// # Panics
    /// When the command does not end.
    pub async fn stop(mut self) -> Report {
        // It may be over already.
        let _ = self.stdin.write_all(b"\n").await;
        let ended = tokio::time::timeout(LONG, async { while self.count.changed().await.is_ok() {} }).await;
        assert!(ended.is_ok(), "the asker does not end");
        Report { answers: since_start(&self.lock(), Mark(0)) }
    }

    async fn until<T>(&self, what: &str, mut found: impl FnMut(&[Answer]) -> Option<T>) -> T {
        let mut count = self.count.clone();
        let wait = async {
            loop {
                if let Some(value) = found(&self.lock()) {
                    return value;
                }
                assert!(count.changed().await.is_ok(), "the asker is over before {what}");
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = tokio::time::timeout(LONG, wait).await;
        waited.unwrap_or_else(|_| panic!("not within {LONG:?}: {what}; {}", self.report(Mark(0))))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    /// How many answers a name gave.
    #[must_use]
    pub fn of(&self, name: &str) -> usize {
        self.answers.iter().filter(|answer| is(answer, name)).count()
    }

    /// Those of them that began after `mark`.
    #[must_use]
    pub fn from(&self, mark: Mark) -> Self {
        Self { answers: since_start(&self.answers, mark) }
    }

    /// Those of them that began before `mark`.
    #[must_use]
    pub fn until(&self, mark: Mark) -> Self {
        Self { answers: self.answers.iter().filter(|answer| answer.start < mark.0).cloned().collect() }
    }

    /// The longest time that an answer took.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        let good = self.answers.iter().filter(|answer| answer.outcome.is_ok()).map(|answer| answer.took);
        Duration::from_micros(good.max().unwrap_or_default())
    }

    /// The requests that failed. One that was skipped, for want of a processor here, was never made; where nobody
    /// answers, the [gap](Self::longest_gap) tells.
    #[must_use]
    pub fn lost(&self) -> Vec<&Answer> {
        let failed = |answer: &&Answer| answer.outcome.as_ref().is_err_and(|word| word != "skipped");
        self.answers.iter().filter(failed).collect()
    }

    /// The longest time in which no request that was answered began.
    #[must_use]
    pub fn longest_gap(&self) -> Duration {
        let good = self.answers.iter().filter(|answer| answer.outcome.is_ok()).map(|answer| answer.start);
        let starts: Vec<u64> = good.collect();
        let gap = starts.windows(2).map(|pair| pair[1] - pair[0]).max();
        Duration::from_millis(gap.unwrap_or_default())
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut counts = BTreeMap::<String, usize>::new();
        for answer in &self.answers {
            let word = answer.outcome.clone().unwrap_or_else(|fault| format!("({fault})"));
            *counts.entry(word).or_default() += 1;
        }
        write!(f, "{} requests: {counts:?}, longest gap {:?}", self.answers.len(), self.longest_gap())?;
        for lost in self.lost().into_iter().take(10) {
            write!(f, "\n  lost at {} ms after {} us: {:?}", lost.start, lost.took, lost.outcome)?;
        }
        Ok(())
    }
}

fn is(answer: &Answer, name: &str) -> bool {
    answer.outcome.as_deref() == Ok(name)
}

fn since_start(answers: &[Answer], since: Mark) -> Vec<Answer> {
    let mut found: Vec<Answer> = answers.iter().filter(|answer| answer.start >= since.0).cloned().collect();
    found.sort_by_key(|answer| answer.start);
    found
}

async fn read(stdout: impl AsyncRead + Unpin, answers: Arc<Mutex<Vec<Answer>>>, count: watch::Sender<usize>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some(answer) = parse(&line) else { break };
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push(answer);
        count.send_replace(answers.len());
    }
}

/// `START_MS TOOK_US ok NAME` or `START_MS TOOK_US err WORD`.
fn parse(line: &str) -> Option<Answer> {
    let mut words = line.splitn(4, ' ');
    let start = words.next()?.parse().ok()?;
    let took = words.next()?.parse().ok()?;
    let verdict = words.next()?;
    let word = words.next()?.to_owned();
    let outcome = if verdict == "ok" { Ok(word) } else { Err(word) };
    Some(Answer { start, took, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_and_finds_the_gap() {
        let lines = ["40 900 ok b", "0 1000 ok a", "20 5 err refused", "100 1 ok a"];
        let answers: Vec<Answer> = lines.iter().filter_map(|line| parse(line)).collect();
        let report = Report { answers: since_start(&answers, Mark(0)) };
        assert_eq!((report.of("a"), report.of("b"), report.lost().len()), (2, 1, 1));
        assert_eq!(report.longest_gap(), Duration::from_millis(60));
        assert_eq!(since_start(&answers, Mark(40)).len(), 2);
        assert_eq!((report.until(Mark(40)).answers.len(), report.slowest().as_micros()), (2, 1000));
        assert!(parse("done").is_none());
    }
}
