//! The `kubetether` command: a thin shell over the engine.

mod args;
mod completions;
mod exchange;
mod exit;
mod forward;
mod line;
mod logs;
mod output;
mod run;
mod screen;
mod stop;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};

use crate::args::{Cli, Command, Global};
use crate::exit::Exit;
use crate::output::Output;
use crate::run::Work;
use crate::screen::Screen;
use crate::stop::Stops;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let screen = Arc::new(Screen::new());
    let work = match cli.command {
        Command::Completions(args) => return completions::run(&args, &screen).into(),
        Command::Exchange(args) => Ok(args.work()),
        Command::Forward(args) => args.work(),
    };
    match work {
        Ok(work) => session(&cli.global, work, screen).into(),
        Err(message) => usage(&Cli::command().error(clap::error::ErrorKind::TooManyValues, message)),
    }
}

fn session(global: &Global, work: Vec<Work>, screen: Arc<Screen>) -> Exit {
    let output = Output::new(global.output, Arc::clone(&screen));
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
