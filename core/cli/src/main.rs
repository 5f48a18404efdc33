//! The `kubetether` command: a thin shell over the engine.

mod args;
mod clean;
mod completions;
mod exchange;
mod exit;
mod forward;
mod line;
mod logs;
mod output;
mod recover;
mod run;
mod screen;
mod status;
mod stop;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};

use crate::args::{Cli, Command, Global};
use crate::exit::Exit;
use crate::output::{Format, Output};
use crate::run::Work;
use crate::screen::Screen;
use crate::stop::Stops;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let screen = Arc::new(Screen::new());
    if cli.global.all_namespaces && !matches!(cli.command, Command::Status(_) | Command::Clean(_)) {
        let message = "--all-namespaces is for status and clean: this one works in one namespace";
        return usage(&Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message));
    }
    let task = match cli.command {
        Command::Completions(args) => {
            return completions::run(&args, &screen).unless_unwritten(&screen).into();
        }
        Command::Exchange(args) => Task::Session(args.work()),
        Command::Forward(args) => match args.work() {
            Ok(work) => Task::Session(work),
            Err(message) => {
                return usage(&Cli::command().error(clap::error::ErrorKind::TooManyValues, message));
            }
        },
        Command::Status(args) => Task::Status(args),
        Command::Clean(args) => Task::Clean(args),
        Command::Recover(args) => Task::Recover(args),
    };
    run(&cli.global, task, Arc::clone(&screen)).unless_unwritten(&screen).into()
}

/// What needs a cluster.
enum Task {
    Session(Vec<Work>),
    Status(status::Args),
    Clean(clean::Args),
    Recover(recover::Args),
}

impl Task {
    fn format(&self, global: &Global) -> Format {
        let json = match self {
            Self::Session(_) => false,
            Self::Status(args) => args.json,
            Self::Clean(args) => args.json,
            Self::Recover(args) => args.json,
        };
        if json { Format::Json } else { global.output }
    }
}

fn run(global: &Global, task: Task, screen: Arc<Screen>) -> Exit {
    let mut output = Output::new(task.format(global), Arc::clone(&screen));
    if let Err(error) = logs::install(global.verbose, output.colour(), Arc::clone(&screen)) {
        screen.tell(&format!("error: {error}"));
        return Exit::Usage;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            screen.tell(&format!("error: starting threads: {error}"));
            return Exit::Internal;
        }
    };
    let exit = runtime.block_on(async {
        let work = match task {
            Task::Session(work) => work,
            // These begin nothing that a Ctrl-C would leave half done for ever.
            Task::Status(args) => return status::run(global, &args, &mut output).await,
            Task::Clean(args) => return clean::run(global, &args, &mut output).await,
            Task::Recover(args) => return recover::run(global, &args, &mut output).await,
        };
        match Stops::new() {
            Ok(stops) => run::run(global, work, stops, output).await,
            Err(error) => {
                screen.tell(&format!("error: signals cannot be handled: {error}"));
                Exit::Internal
            }
        }
    });
    // Not by dropping it: after a second Ctrl-C nothing may be waited for.
    runtime.shutdown_background();
    exit
}

/// Mistakes go to standard error with exit code 2; help and version to standard output with 0.
fn usage(error: &clap::Error) -> ExitCode {
    // A reader that is gone has read enough.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() }
}
