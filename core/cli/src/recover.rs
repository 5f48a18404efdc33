//! `kubetether recover SERVICE`

use kubetether::{RecoverOptions, Recovered, Target, recover};
use serde::Serialize;

use crate::args::{Global, parse};
use crate::exit::Exit;
use crate::line::Line;
use crate::output::Output;
use crate::status::Hidden;

/// Put one Service back as it was, whoever holds it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A session that holds it and lives is told so; its exchange is lost, and it does not take the Service again.

Example:
  kubetether recover orders")]
pub(crate) struct Args {
    /// The Service: its name, or svc/NAME
    #[arg(value_parser = parse::<Target>)]
    service: Target,
    /// The same as --output json
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn run(global: &Global, args: &Args, output: &mut Output) -> Exit {
    match recover(&global.config(), args.service.clone(), RecoverOptions::new()).await {
        Ok(recovered) => {
            let _ = output.say(&Line::Recover(Told::of(&recovered)));
            Exit::Done
        }
        Err(error) => output.fail(&error),
    }
}

/// What was done, as it is told to programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    namespace: String,
    service: String,
    changed: bool,
    held_by: Vec<String>,
    untold: Vec<Hidden>,
}

impl Told {
    fn of(recovered: &Recovered) -> Self {
        Self {
            namespace: recovered.namespace.clone(),
            service: recovered.service.clone(),
            changed: recovered.changed,
            held_by: recovered.held_by.clone(),
            untold: Hidden::all(&recovered.untold),
        }
    }

    /// The same for people: lines for standard output, then what belongs to standard error.
    pub(crate) fn lines(&self) -> (Vec<String>, Vec<String>) {
        let place = format!("services/{} in namespace {}", self.service, self.namespace);
        let line = match (self.changed, self.held_by.as_slice()) {
            (false, []) => format!("{place} is as it was: there is nothing to put back"),
            (false, who) => format!(
                "{place} is as it was; {}, who may have put it back for a moment only, does not take it again",
                who.join(", ")
            ),
            (true, []) => format!("{place} is put back"),
            (true, who) => format!("{place} is put back; it was held by {}", who.join(", ")),
        };
        let untold = self
            .untold
            .iter()
            .map(|one| format!("its holder could not be told and may take it again: {}", one.why));
        (vec![line], untold.collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of it.
    pub(crate) fn told() -> Told {
        Told {
            namespace: "shop".into(),
            service: "orders".into(),
            changed: true,
            held_by: vec!["ana@laptop".into()],
            untold: Vec::new(),
        }
    }

    #[test]
    fn people_read_who_held_it() {
        let (lines, _) = told().lines();
        assert_eq!(lines, ["services/orders in namespace shop is put back; it was held by ana@laptop"]);
        let (lines, _) = Told { changed: false, ..told() }.lines();
        assert!(lines[0].contains("ana@laptop") && lines[0].contains("does not take it again"), "{lines:?}");
        let (lines, _) = Told { changed: false, held_by: Vec::new(), ..told() }.lines();
        assert!(lines[0].contains("nothing to put back"));
    }
}
