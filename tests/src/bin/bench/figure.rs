//! A figure, its target, and how both are told.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use kubetether_tests::root;
use serde_json::{Value, json};

/// One measured figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// `group.what`.
    pub(crate) id: &'static str,
    /// The median of its runs is what counts.
    value: Spread,
    unit: &'static str,
    /// What it is compared with in the same run: its median there, and its name.
    beside: Option<(Spread, &'static str)>,
    /// Of the share where there is one, else of the value.
    aim: Aim,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Nothing is promised.
    Nothing,
}

/// Several runs of one thing. Far apart, they tell of a machine that does other things, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of all runs.
    pub(crate) fn of(mut runs: Vec<f64>) -> Self {
        runs.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| runs.get(index).copied().unwrap_or(f64::NAN);
        Self { least: at(0), median: at(runs.len() / 2), most: at(runs.len().wrapping_sub(1)) }
    }

    /// Of a value that is measured once.
    pub(crate) fn one(value: f64) -> Self {
        Self { least: value, median: value, most: value }
    }

    /// The one with the higher median.
    pub(crate) fn better(self, other: Self) -> Self {
        if other.median > self.median { other } else { self }
    }
}

impl Figure {
    /// A value as it is.
    pub(crate) fn value(id: &'static str, unit: &'static str, value: Spread, aim: Aim) -> Self {
        Self { id, value, unit, beside: None, aim }
    }

    /// A value as a share of another one of the same run.
    pub(crate) fn share(
        id: &'static str,
        unit: &'static str,
        value: Spread,
        whole: Spread,
        of: &'static str,
        aim: Aim,
    ) -> Self {
        Self { id, value, unit, beside: Some((whole, of)), aim }
    }

    /// Durations in seconds, to stay under `target`.
    pub(crate) fn seconds(id: &'static str, runs: Vec<Duration>, target: Option<f64>) -> Self {
        let runs = runs.iter().map(Duration::as_secs_f64).collect();
        Self::value(id, "s", Spread::of(runs), target.map_or(Aim::Nothing, Aim::AtMost))
    }

    /// The sum of several counts, of which none is allowed.
    pub(crate) fn lost(id: &'static str, runs: &[usize]) -> Self {
        Self::value(id, "connections", Spread::one(runs.iter().sum::<usize>() as f64), Aim::AtMost(0.0))
    }

    /// A size.
    pub(crate) fn bytes(id: &'static str, bytes: u64, target: Option<u64>) -> Self {
        let aim = target.map_or(Aim::Nothing, |most| Aim::AtMost(most as f64));
        Self::value(id, "bytes", Spread::one(bytes as f64), aim)
    }

    /// The value as a share of what it is compared with, or of its target.
    fn ratio(&self) -> Option<(f64, &'static str)> {
        match (self.beside, self.aim) {
            (Some((whole, of)), _) => Some((self.value.median / whole.median, of)),
            (None, Aim::AtMost(target) | Aim::AtLeast(target)) if target > 0.0 => {
                Some((self.value.median / target, "target"))
            }
            (None, _) => None,
        }
    }

    /// Whether it is what it should be; `None` where nothing is promised.
    fn reached(&self) -> Option<bool> {
        let judged = match self.beside {
            Some((whole, _)) => self.value.median / whole.median,
            None => self.value.median,
        };
        match self.aim {
            Aim::AtMost(target) => Some(judged <= target),
            Aim::AtLeast(target) => Some(judged >= target),
            Aim::Nothing => None,
        }
    }

    fn number(&self, value: f64) -> String {
        match value {
            _ if self.unit == "s" || self.unit == "ms" => format!("{value:.3}"),
            0.0..10.0 => format!("{value:.2}"),
            _ => format!("{value:.0}"),
        }
    }

    fn json(&self) -> Value {
        let (aim, target) = match self.aim {
            Aim::AtMost(target) => (Some("at most"), Some(target)),
            Aim::AtLeast(target) => (Some("at least"), Some(target)),
            Aim::Nothing => (None, None),
        };
        json!({
            "id": self.id, "value": self.value.median, "unit": self.unit,
            "ratio": self.ratio().map(|(ratio, _)| ratio), "of": self.ratio().map(|(_, of)| of),
            "least": self.value.least, "most": self.value.most,
            "beside": self.beside.map(|(whole, _)| whole.median),
            "aim": aim, "target": target, "reached": self.reached(),
        })
    }

    /// Its row: id, value, runs, what it is compared with, target, whether that is reached.
    fn row(&self) -> [String; 6] {
        let runs = match self.value {
            Spread { least, most, .. } if least == most => String::new(),
            Spread { least, most, .. } => format!("{}..{}", self.number(least), self.number(most)),
        };
        let beside = self.beside.map(|(whole, of)| {
            format!("{:.2} of {} ({of})", self.value.median / whole.median, self.number(whole.median))
        });
        let target = |target: f64| match self.beside {
            Some(_) => format!("{target:.1}"),
            None => self.number(target),
        };
        let aim = match self.aim {
            Aim::AtMost(most) => format!("<= {}", target(most)),
            Aim::AtLeast(least) => format!(">= {}", target(least)),
            Aim::Nothing => String::new(),
        };
        let verdict = match self.reached() {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        let value = format!("{} {}", self.number(self.value.median), self.unit);
        [self.id.to_owned(), value, runs, beside.unwrap_or_default(), aim, verdict.to_owned()]
    }
}

/// A line each.
pub(crate) fn table(figures: &[Figure]) -> String {
    let head = ["figure", "median", "runs", "compared", "target", ""].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(figures.iter().map(Figure::row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Writes each group's figures into a file of its own; gives their names.
pub(crate) fn write(figures: &[Figure]) -> io::Result<Vec<String>> {
    let mut groups = BTreeMap::<&str, Vec<Value>>::new();
    for figure in figures {
        let group = figure.id.split('.').next().unwrap_or(figure.id);
        groups.entry(group).or_default().push(figure.json());
    }
    let folder = root().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    groups
        .into_iter()
        .map(|(group, figures)| {
            let name = format!("target/bench/{group}.json");
            let text = serde_json::to_string_pretty(&figures).map_err(io::Error::other)?;
            std::fs::write(root().join(&name), format!("{text}\n"))?;
            Ok(name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_and_told_with_its_target() {
        let runs = [5, 1, 9, 2, 3].map(Duration::from_secs).to_vec();
        let figure = Figure::seconds("a.b", runs, Some(2.0));
        let told = figure.json();
        assert_eq!(told["value"], 3.0);
        assert_eq!((&told["ratio"], &told["of"]), (&json!(1.5), &json!("target")));
        assert_eq!(
            (&told["least"], &told["most"], &told["reached"]),
            (&json!(1.0), &json!(9.0), &json!(false))
        );
        let text = table(&[figure]);
        assert!(text.contains("1.000..9.000") && text.contains("MISSED"), "{text}");
        let lost = Figure::lost("a.c", &[0, 0]);
        assert_eq!((&lost.json()["ratio"], &lost.json()["reached"]), (&Value::Null, &json!(true)));
    }

    #[test]
    fn a_share_is_judged_and_not_its_value() {
        let share = |aim| Figure::share("a.b", "MB/s", Spread::one(270.0), Spread::one(300.0), "raw", aim);
        let (good, bad) = (share(Aim::AtLeast(0.9)), share(Aim::AtMost(0.8)));
        assert_eq!((good.reached(), bad.reached()), (Some(true), Some(false)));
        assert_eq!((&good.json()["ratio"], &good.json()["of"]), (&json!(0.9), &json!("raw")));
        assert_eq!((&good.json()["value"], &good.json()["beside"]), (&json!(270.0), &json!(300.0)));
        assert!(table(&[good]).contains("0.90 of 300 (raw)"));
        assert_eq!(share(Aim::Nothing).reached(), None);
    }

    #[test]
    fn a_spread_without_runs_has_no_number() {
        assert!(Spread::of(Vec::new()).median.is_nan());
        assert_eq!(Spread::one(1.0).better(Spread::one(2.0)), Spread::one(2.0));
    }
}
