//! `kubetether clean`

use kubetether::{CleanOptions, Cleaned, Left, Removal, clean};
use serde::Serialize;

use crate::args::Global;
use crate::exit::Exit;
use crate::line::Line;
use crate::output::Output;
use crate::status::Hidden;

/// Put back and take away what dead sessions left in the cluster
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What belongs to a session that lives is not touched. To see that one is dead takes half a minute.

Examples:
  kubetether clean --dry-run                       tell what would be done
  kubetether clean
  kubetether clean --all                           also what belongs to sessions that live: their exchanges are lost")]
pub(crate) struct Args {
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    /// Also what belongs to sessions that live, or of which that cannot be seen
    #[arg(long)]
    all: bool,
    /// The same as --output json
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(global: &Global, args: &Args, output: &mut Output) -> Exit {
    let options =
        CleanOptions::new().dry_run(args.dry_run).all(args.all).all_namespaces(global.all_namespaces);
    let what = "looking for what dead sessions left, which takes up to half a minute".to_owned();
    let _ = output.say(&Line::Progress { handle: None, step: 1, of: 1, what });
    let cleaned = match clean(&global.config(), options).await {
        Ok(cleaned) => cleaned,
        Err(error) => return output.fail(&error),
    };
    let _ = output.say(&Line::Clean(Told::of(&cleaned, args.dry_run)));
    cleaned.failure().map_or(Exit::Done, |error| output.fail(error))
}

/// What was done, as it is told to programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    dry_run: bool,
    restored: Vec<Restored>,
    deleted: Vec<Deleted>,
    left: Vec<Stays>,
    unseen: Vec<Hidden>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Restored {
    namespace: String,
    object: String,
    leases: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Deleted {
    namespace: String,
    object: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Stays {
    namespace: String,
    object: String,
    why: String,
    /// Whether it was to go and could not be taken away.
    failed: bool,
}

impl Told {
    fn of(cleaned: &Cleaned, dry_run: bool) -> Self {
        let (mut restored, mut deleted) = (Vec::new(), Vec::new());
        for done in &cleaned.done {
            match done.clone() {
                Removal::Restored { namespace, object, leases } => {
                    restored.push(Restored { namespace, object, leases });
                }
                Removal::Deleted { namespace, object } => deleted.push(Deleted { namespace, object }),
                // A newer engine's has no shape here yet.
                _ => {}
            }
        }
        let stays = |left: &Left| Stays {
            namespace: left.namespace.clone(),
            object: left.object.clone(),
            why: left.why.clone(),
            failed: left.error.is_some(),
        };
        Self {
            dry_run,
            restored,
            deleted,
            left: cleaned.left.iter().map(stays).collect(),
            unseen: Hidden::all(&cleaned.unseen),
        }
    }

    /// The same for people: lines for standard output, then what belongs to standard error.
    pub(crate) fn lines(&self) -> (Vec<String>, Vec<String>) {
        let (put_back, delete) =
            if self.dry_run { ("would be put back", "would be deleted") } else { ("put back", "deleted") };
        let mut lines = Vec::new();
        if self.restored.is_empty() && self.deleted.is_empty() {
            lines.push("there is nothing to clean".to_owned());
        }
        lines.extend(self.restored.iter().map(|one| format!("{put_back}: {} {}", one.namespace, one.object)));
        lines.extend(self.deleted.iter().map(|one| format!("{delete}: {} {}", one.namespace, one.object)));
        let stays = |one: &Stays| format!("stays: {} {}: {}", one.namespace, one.object, one.why);
        let left = self.left.iter().filter(|one| !one.failed).map(stays);
        let hidden = self.unseen.iter().map(|one| format!("may not be looked at: {}", one.why));
        (lines, left.chain(hidden).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of each.
    pub(crate) fn told(dry_run: bool) -> Told {
        let (namespace, object) = ("shop".to_owned(), "services/orders".to_owned());
        Told {
            dry_run,
            restored: vec![Restored {
                namespace: namespace.clone(),
                object,
                leases: vec!["kubetether-1".into()],
            }],
            deleted: vec![Deleted { namespace: namespace.clone(), object: "leases/kubetether-1".into() }],
            left: vec![Stays {
                namespace,
                object: "leases/kubetether-2".into(),
                why: "its session lives".into(),
                failed: false,
            }],
            unseen: Vec::new(),
        }
    }

    #[test]
    fn people_read_what_was_done_and_what_stays() {
        let (lines, rest) = told(false).lines();
        assert_eq!(lines, ["put back: shop services/orders", "deleted: shop leases/kubetether-1"]);
        assert_eq!(rest, ["stays: shop leases/kubetether-2: its session lives"]);
        assert!(told(true).lines().0.iter().all(|line| line.starts_with("would be ")));
    }
}
