//! `kubetether completions SHELL`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Exit;
use crate::screen::Screen;

/// Print a completion script
#[derive(Debug, clap::Args)]
#[command(after_help = "For example, in ~/.bashrc:  source <(kubetether completions bash)")]
pub(crate) struct Args {
    /// The shell it is for
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args, screen: &Screen) -> Exit {
    let script = String::from_utf8_lossy(&script(args.shell)).into_owned();
    // A reader that is gone has what it wanted.
    let _ = screen.result(script.trim_end());
    Exit::Done
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_a_script_that_names_the_subcommands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = String::from_utf8(script(shell)).unwrap();
            for word in ["exchange", "forward", "status", "clean", "recover", "completions", "namespace"] {
                assert!(script.contains(word), "{shell}: no {word}");
            }
        }
    }
}
