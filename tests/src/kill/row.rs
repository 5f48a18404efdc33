//! What came of a run.

use std::any::Any;
use std::fmt::Write as _;
use std::time::Duration;

use super::course::Phase;
use super::runs::Place;

/// In the place of a request that no run needs.
pub(super) const NONE: &str = "no such request";

/// One line of a matrix.
#[derive(Debug)]
pub(super) struct Row {
    place: Place,
    /// As in `PATCH services`.
    pub(super) request: String,
    pub(super) phase: Phase,
    /// From the kill until who should answer does: the originals, or with the agents dead, whoever.
    pub(super) away: Duration,
    /// Requests of a pod that failed: until the kill, from then until who should answer does, and after that.
    pub(super) lost: [usize; 3],
    pub(super) requests: usize,
    /// What those were, where there are some.
    pub(super) told: Option<String>,
    /// How the client ended that was not killed.
    pub(super) ended: String,
    /// How long `clean` took.
    pub(super) clean: Option<Duration>,
    /// What is not as it has to be.
    pub(super) faults: Vec<String>,
}

impl Row {
    pub(super) fn new(place: Place, request: String, phase: Phase) -> Self {
        Self {
            place,
            request,
            phase,
            away: Duration::ZERO,
            lost: [0; 3],
            requests: 0,
            told: None,
            ended: String::new(),
            clean: None,
            faults: Vec::new(),
        }
    }

    /// Of a run that panicked.
    pub(super) fn broken(place: Place, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        let mut row = Self::new(place, "?".to_owned(), Phase::Start);
        row.faults.push(text.to_owned());
        row
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Whether the run came to its end without being interrupted.
    pub(super) fn is_beyond(&self) -> bool {
        self.request == NONE
    }

    pub(super) fn is_bad(&self) -> bool {
        !self.faults.is_empty()
    }
}

/// All rows, for people.
pub(super) fn table(name: &str, rows: &[Row]) -> String {
    let lost: usize = rows.iter().flat_map(|row| row.lost).sum();
    let away = rows.iter().map(|row| row.away).max().unwrap_or_default();
    let bad = rows.iter().filter(|row| row.is_bad()).count();
    let mut text = format!(
        "{name}: {} runs, {bad} bad; {lost} requests lost, longest away {:.1} s\n",
        rows.len(),
        away.as_secs_f64()
    );
    for row in rows {
        let place = row.place.to_string();
        let phase = format!("{:?}", row.phase).to_lowercase();
        let clean = row.clean.map_or(String::new(), |took| format!("clean {:.1} s", took.as_secs_f64()));
        let lost = row.lost.map(|count| count.to_string()).join("+");
        let _ = write!(
            text,
            "  {place:<9} {phase:<5} {:<40} away {:>5.2} s  lost {lost:<7} of {:<5} {clean} {}",
            row.request,
            row.away.as_secs_f64(),
            row.requests,
            row.ended
        );
        text.truncate(text.trim_end().len());
        text.push('\n');
        if let Some(told) = &row.told {
            let _ = writeln!(text, "    {}", told.replace('\n', "\n    "));
        }
        for fault in &row.faults {
            let _ = writeln!(text, "    BAD: {}", fault.replace('\n', "\n         "));
        }
    }
    text
}
