//! `kubetether status`

use std::time::Duration;

use kubetether::{Condition, ServiceStatus, SessionStatus, Status, StatusOptions, Unseen, watch_status};
use serde::Serialize;

use crate::args::Global;
use crate::exit::Exit;
use crate::line::Line;
use crate::output::Output;

/// What it takes to see of a session that it is dead, and a little.
const PATIENCE: Duration = Duration::from_secs(35);

/// Show who is there, what they hold, since when, and how it stands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Whether a session lives is seen by watching it: one that lives within 10 seconds, one that is dead after half a minute. At
a terminal what is known is told at once, and the rest when it is seen.

Examples:
  kubetether status
  kubetether status --all-namespaces --json
  kubetether status --now                          at once; who lives is not known then
  kubetether status --watch                        at once, and again whenever it changes, until Ctrl-C")]
pub(crate) struct Args {
    /// Tell it at once, without watching who lives
    #[arg(long, conflicts_with = "watch")]
    now: bool,
    /// Go on and tell it again whenever it changes
    #[arg(short, long)]
    watch: bool,
    /// The same as --output json
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(global: &Global, args: &Args, output: &mut Output) -> Exit {
    match tell(global, args, output).await {
        Ok(()) => Exit::Done,
        Err(error) => output.fail(&error),
    }
}

async fn tell(global: &Global, args: &Args, output: &mut Output) -> kubetether::Result<()> {
    let options = StatusOptions::new().all_namespaces(global.all_namespaces);
    let mut watch = watch_status(&global.config(), options).await?;
    let first = watch.next().await?;
    if args.watch {
        let mut now = first;
        // A reader that is gone has read enough.
        while output.say(&Line::Status(Told::of(&now))).is_ok() {
            now = watch.next().await?;
        }
        return Ok(());
    }
    if args.now || first.is_settled() {
        let _ = output.say(&Line::Status(Told::of(&first)));
        return Ok(());
    }
    if output.is_live() {
        let _ = output.say(&Line::Status(Told::of(&first)));
    }
    let unknown = first.sessions.iter().filter(|session| session.life == kubetether::Life::Unknown).count();
    let what = format!("watching whether {unknown} session(s) live, for up to half a minute");
    let _ = output.say(&Line::Progress { handle: None, step: 1, of: 1, what });
    let now = watch.settled(PATIENCE).await?;
    let _ = output.say(&Line::Status(Told::of(&now)));
    Ok(())
}

/// A status as it is told to programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    services: Vec<Service>,
    sessions: Vec<Session>,
    leftovers: Vec<String>,
    unseen: Vec<Hidden>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Service {
    namespace: String,
    service: String,
    mode: String,
    ports: Vec<u16>,
    lease: String,
    who: Option<String>,
    since: Option<String>,
    life: &'static str,
    condition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Session {
    namespace: String,
    lease: String,
    who: Option<String>,
    started: Option<String>,
    life: &'static str,
}

/// Something that may not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hidden {
    pub(crate) what: String,
    pub(crate) why: String,
}

impl Hidden {
    pub(crate) fn all(unseen: &[Unseen]) -> Vec<Self> {
        unseen.iter().map(|one| Self { what: one.what.clone(), why: one.why.clone() }).collect()
    }
}

impl Told {
    pub(crate) fn of(status: &Status) -> Self {
        Self {
            services: status.services.iter().map(Service::of).collect(),
            sessions: status.sessions.iter().map(Session::of).collect(),
            leftovers: status.leftovers.clone(),
            unseen: Hidden::all(&status.unseen),
        }
    }

    /// The same for people: lines for standard output, then what belongs to standard error.
    pub(crate) fn lines(&self) -> (Vec<String>, Vec<String>) {
        let mut lines = Vec::new();
        if self.services.is_empty() && self.sessions.is_empty() && self.leftovers.is_empty() {
            lines.push("nothing of kubetether is there".to_owned());
        }
        if !self.services.is_empty() {
            let rows = self.services.iter().map(Service::row);
            lines.extend(table(
                ["NAMESPACE", "SERVICE", "HELD BY", "SINCE", "AS", "SESSION", "TRAFFIC"],
                rows,
            ));
        }
        if !self.sessions.is_empty() {
            space(&mut lines);
            let rows = self.sessions.iter().map(|session| {
                let unknown = || "?".to_owned();
                [
                    session.namespace.clone(),
                    session.lease.clone(),
                    session.who.clone().unwrap_or_else(unknown),
                    session.started.clone().unwrap_or_else(unknown),
                    life(session.life),
                ]
            });
            lines.extend(table(["NAMESPACE", "SESSION", "WHO", "SINCE", "LIFE"], rows));
        }
        if !self.leftovers.is_empty() {
            space(&mut lines);
            lines.push("LEFT OVER (kubetether clean takes it away)".to_owned());
            lines.extend(self.leftovers.iter().map(|object| format!("  {object}")));
        }
        let hidden = self.unseen.iter().map(|one| format!("may not be looked at: {}", one.why));
        (lines, hidden.collect())
    }
}

impl Service {
    fn of(status: &ServiceStatus) -> Self {
        let (condition, reason) = match &status.condition {
            Condition::Active => ("active", None),
            Condition::PassThrough(reason) => ("pass_through", Some(reason.clone())),
            Condition::Broken(reason) => ("broken", Some(reason.clone())),
            Condition::Unknown | _ => ("unknown", None),
        };
        Self {
            namespace: status.namespace.clone(),
            service: status.service.clone(),
            mode: status.mode.clone(),
            ports: status.ports.clone(),
            lease: status.lease.clone(),
            who: status.who.clone(),
            since: status.since.clone(),
            life: status.life.as_str(),
            condition,
            reason,
        }
    }

    fn row(&self) -> [String; 7] {
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let traffic = match (self.condition, &self.reason) {
            ("active", _) if self.life == UNKNOWN => "to its holder, if that lives".to_owned(),
            ("active", _) => "to its holder".to_owned(),
            ("pass_through", Some(reason)) => format!("to the original pods: {reason}"),
            ("broken", Some(reason)) => format!("broken: {reason}"),
            _ => "?".to_owned(),
        };
        let who = self.who.clone().unwrap_or_else(|| self.lease.clone());
        [
            self.namespace.clone(),
            self.service.clone(),
            if who.is_empty() { "?".to_owned() } else { who },
            self.since.clone().unwrap_or_else(|| "?".to_owned()),
            format!("{} {}", self.mode, ports.join(",")),
            life(self.life),
            traffic,
        ]
    }
}

impl Session {
    fn of(status: &SessionStatus) -> Self {
        Self {
            namespace: status.namespace.clone(),
            lease: status.lease.clone(),
            who: status.who.clone(),
            started: status.started.clone(),
            life: status.life.as_str(),
        }
    }
}

/// The word of a session that was not watched for long enough.
const UNKNOWN: &str = "unknown";

fn life(word: &str) -> String {
    if word == UNKNOWN { "not known yet".to_owned() } else { word.to_owned() }
}

fn space(lines: &mut Vec<String>) {
    if !lines.is_empty() {
        lines.push(String::new());
    }
}

/// Columns as wide as what stands in them.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Vec<String> {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of each.
    pub(crate) fn told() -> Told {
        Told {
            services: vec![Service {
                namespace: "shop".into(),
                service: "orders".into(),
                mode: "exchange".into(),
                ports: vec![80],
                lease: "kubetether-1a2b3c4d".into(),
                who: Some("ana@laptop".into()),
                since: None,
                life: "dead",
                condition: "pass_through",
                reason: Some("the session that holds it is dead".into()),
            }],
            sessions: vec![Session {
                namespace: "shop".into(),
                lease: "kubetether-1a2b3c4d".into(),
                who: None,
                started: None,
                life: "dead",
            }],
            leftovers: vec!["shop deployments/kt-orders-0123456789".into()],
            unseen: vec![Hidden { what: "jobs".into(), why: "jobs is forbidden".into() }],
        }
    }

    #[test]
    fn people_read_a_table() {
        let (lines, hidden) = told().lines();
        assert_eq!(
            lines,
            [
                "NAMESPACE  SERVICE  HELD BY     SINCE  AS           SESSION  TRAFFIC",
                "shop       orders   ana@laptop  ?      exchange 80  dead     to the original pods: the session that holds it is dead",
                "",
                "NAMESPACE  SESSION              WHO  SINCE  LIFE",
                "shop       kubetether-1a2b3c4d  ?    ?      dead",
                "",
                "LEFT OVER (kubetether clean takes it away)",
                "  shop deployments/kt-orders-0123456789",
            ]
        );
        assert_eq!(hidden, ["may not be looked at: jobs is forbidden"]);
        let (lines, hidden) = Told::of(&Status::default()).lines();
        assert_eq!((lines, hidden), (vec!["nothing of kubetether is there".to_owned()], vec![]));
    }
}
