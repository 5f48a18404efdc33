//! Requests that go on, 200 a second, through everything that a scenario does, counted by event.

#![allow(clippy::print_stdout, reason = "a test's output is shown when it fails")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use crate::asker::{Asker, Mark, Report};
use crate::client::Client;
use crate::cluster::root;
use crate::namespace::Security;
use crate::scenario::{Scenario, scenario_within};
use crate::turn::Turns;
use crate::wait::LONG;

/// Between two requests, in milliseconds.
const EVERY: u32 = 5;

/// So many answers in a row by one name are its answers from now on.
const SETTLED: usize = 100;

/// So many at once: 200 connections a second through the whole way are a good part of a processor.
static TURNS: Turns = Turns::new(2);

/// Where all counts of a run are written down, beside the scenarios' log.
const FILE: &str = "target/requests.txt";

/// Runs a scenario that counts requests; see [`scenario`](crate::scenario).
///
/// # Panics
/// As [`scenario`](crate::scenario).
pub fn steadily(name: &str, body: impl AsyncFnOnce(&Scenario)) {
    // Its time begins when its turn has come.
    let _turn = TURNS.take();
    scenario_within(3 * LONG, Security::Privileged, name, body);
}

/// Requests by new connections, one every 5 ms.
#[derive(Debug)]
pub struct Steady {
    asker: Asker,
    scenario: String,
    // what happened, and from when on
    events: Vec<(String, Mark)>,
}

/// What became of the requests, by event.
#[derive(Debug)]
pub struct Counts {
    events: Vec<(String, Report)>,
}

impl Steady {
    /// Begins to ask; the first event is the `start`.
    ///
    /// # Panics
    /// When nothing comes of it.
    pub async fn start(at: &Scenario, client: &Client, url: &str) -> Self {
        let asker = client.ask(url, EVERY).await;
        let mut steady = Self { asker, scenario: at.namespace().name().to_owned(), events: Vec::new() };
        steady.event("start").await;
        steady
    }

    /// From now on requests count for this event.
    ///
    /// # Panics
    /// When nobody is told of any request any more.
    pub async fn event(&mut self, what: &str) {
        self.events.push((what.to_owned(), self.asker.mark().await));
    }

    /// Waits until requests since the event are answered by `name`, a hundred in a row.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn settled(&self, name: &str) {
        let since = self.events.last().map_or_else(Mark::default, |(_, mark)| *mark);
        self.asker.answered_by(name, since, SETTLED).await;
    }

    /// Waits until requests from now on are answered by `name`, a hundred in a row.
    ///
    /// # Panics
    /// When that does not come.
    pub async fn settled_now(&self, name: &str) {
        self.asker.answered_by(name, self.asker.mark().await, SETTLED).await;
    }

    /// Stops asking; what became of the requests.
    ///
    /// # Panics
    /// When the loop does not end.
    pub async fn finish(self) -> Counts {
        let whole = self.asker.stop().await;
        let ends = self.events.iter().skip(1).map(|(_, mark)| Some(*mark)).chain([None]);
        let between = |from: Mark, to: Option<Mark>| {
            let since = whole.from(from);
            to.map_or_else(|| since.clone(), |to| since.until(to))
        };
        let events = self.events.iter().zip(ends);
        let events = events.map(|((what, from), to)| (what.clone(), between(*from, to))).collect();
        let counts = Counts { events };
        let table = counts.table(&self.scenario);
        println!("{table}");
        // For whoever reads; that it cannot be written is no fault of what is shown here.
        let file = std::fs::OpenOptions::new().create(true).append(true).open(root().join(FILE));
        let _ = file.and_then(|mut file| file.write_all(table.as_bytes()));
        counts
    }
}

impl Counts {
    /// What became of those of one event.
    ///
    /// # Panics
    /// When there was none of that name.
    #[must_use]
    pub fn of(&self, what: &str) -> &Report {
        let found = self.events.iter().find(|(event, _)| event == what);
        found.map_or_else(|| panic!("no event {what}"), |(_, report)| report)
    }

    /// Demands that none was lost, but in events named here.
    ///
    /// # Panics
    /// When one was.
    pub fn none_lost_but(&self, excused: &[&str]) {
        for name in excused {
            // A misspelt excuse would never be missed.
            let _ = self.of(name);
        }
        for (event, report) in self.events.iter().filter(|(event, _)| !excused.contains(&event.as_str())) {
            assert!(report.lost().is_empty(), "{event}: {report}");
        }
    }

    /// A line for each event: requests, by whom they were answered, how many were lost, the slowest answer, the
    /// longest time without any.
    fn table(&self, scenario: &str) -> String {
        let mut text = String::new();
        for (event, report) in &self.events {
            let mut names = BTreeMap::<&str, usize>::new();
            for answer in &report.answers {
                *names.entry(answer.outcome.as_deref().unwrap_or("lost")).or_default() += 1;
            }
            names.remove("lost");
            let names: Vec<String> = names.iter().map(|(name, count)| format!("{name} {count}")).collect();
            let _ = writeln!(
                text,
                "{:<44} {:<34} requests {:>5}  lost {:>4}  slowest {:>5} ms  gap {:>5} ms  {}",
                scenario.rsplit_once('-').map_or(scenario, |(name, _)| name.trim_start_matches("test-")),
                event,
                report.answers.len(),
                report.lost().len(),
                report.slowest().as_millis(),
                report.longest_gap().as_millis(),
                names.join(", "),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::asker::Answer;

    fn report(outcomes: &[Result<&str, &str>]) -> Report {
        let answers = outcomes.iter().enumerate().map(|(at, outcome)| Answer {
            start: at as u64 * 5,
            took: 1000,
            outcome: outcome.map(str::to_owned).map_err(str::to_owned),
        });
        Report { answers: answers.collect() }
    }

    #[test]
    fn a_line_tells_an_event() {
        let answers = [Ok("a"), Ok("b"), Err("refused"), Ok("a")];
        let counts = Counts { events: vec![("evicted".to_owned(), report(&answers))] };
        let line = counts.table("test-agent-evicted-01234567");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..8], ["agent-evicted", "evicted", "requests", "4", "lost", "1", "slowest", "1"]);
        assert!(line.contains("a 2, b 1"), "{line}");
        assert_eq!(counts.of("evicted").longest_gap(), Duration::from_millis(10));
    }

    #[test]
    #[should_panic(expected = "refused")]
    fn what_is_lost_is_not_excused_by_another_event() {
        let events = ["one", "other"].map(|name| (name.to_owned(), report(&[Err("refused")])));
        Counts { events: events.into() }.none_lost_but(&["one"]);
    }
}
