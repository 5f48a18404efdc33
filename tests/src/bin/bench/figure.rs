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
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What it should stay under; `None` where nothing is promised.
    pub(crate) target: Option<f64>,
}

impl Figure {
    /// The median of several durations, in seconds.
    pub(crate) fn seconds(id: &'static str, mut runs: Vec<Duration>, target: Option<f64>) -> Self {
        runs.sort_unstable();
        let value = runs.get(runs.len() / 2).map(Duration::as_secs_f64).unwrap_or(f64::NAN);
        Self { id, value, unit: "s", target }
    }

    /// The sum of several counts, of which none is allowed.
    pub(crate) fn lost(id: &'static str, runs: &[usize]) -> Self {
        Self { id, value: runs.iter().sum::<usize>() as f64, unit: "connections", target: Some(0.0) }
    }

    /// A size.
    pub(crate) fn bytes(id: &'static str, bytes: u64, target: Option<u64>) -> Self {
        Self { id, value: bytes as f64, unit: "bytes", target: target.map(|bytes| bytes as f64) }
    }

    /// The value as a share of its target.
    fn ratio(&self) -> Option<f64> {
        self.target.filter(|target| *target > 0.0).map(|target| self.value / target)
    }

    fn reached(&self) -> &'static str {
        match self.target {
            Some(target) if self.value <= target => "reached",
            Some(_) => "MISSED",
            None => "",
        }
    }

    fn json(&self) -> Value {
        let of = self.ratio().map(|_| "target");
        json!({ "id": self.id, "value": self.value, "unit": self.unit, "ratio": self.ratio(), "of": of })
    }
}

/// A line each: id, value, target.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:<22} {:>12} {:<12} {:>12}\n", "figure", "value", "unit", "target");
    for figure in figures {
        let number =
            |value: f64| if figure.unit == "s" { format!("{value:.3}") } else { format!("{value:.0}") };
        let target = figure.target.map(number).unwrap_or_default();
        let line = format!(
            "{:<22} {:>12} {:<12} {target:>12} {}",
            figure.id,
            number(figure.value),
            figure.unit,
            figure.reached()
        );
        text.push_str(line.trim_end());
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
        assert_eq!(
            figure.json(),
            json!({ "id": "a.b", "value": 3.0, "unit": "s", "ratio": 1.5, "of": "target" })
        );
        assert!(table(&[figure]).contains("MISSED"));
        let lost = Figure::lost("a.c", &[0, 0]);
        assert_eq!(
            lost.json(),
            json!({ "id": "a.c", "value": 0.0, "unit": "connections", "ratio": null, "of": null })
        );
        assert!(table(&[lost]).contains("reached"));
    }
}
