//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use kubetether::{AgentSource, Config};

use crate::output::Format;
use crate::{clean, completions, exchange, exit, forward, line, recover, status};

/// Connects this machine and a Kubernetes cluster, both ways
#[derive(Debug, Parser)]
#[command(name = "kubetether", version, disable_help_subcommand = true, after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What all subcommands take.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The namespace [default: that of the context]
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// All namespaces, where that makes sense: status, clean
    #[arg(short = 'A', long, global = true, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig file [default: as kubectl finds it]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The agent's file, when it is not beside this program
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "agent_image")]
    agent: Option<PathBuf>,
    /// A container image with the agent as its entry point, instead of bringing the file along
    #[arg(long, global = true, value_name = "IMAGE")]
    agent_image: Option<String>,
    /// How to tell what happens: for people, or for programs (--help shows the shapes)
    #[arg(short, long, global = true, value_enum, default_value = "text", value_name = "FORMAT", long_help = line::HELP)]
    pub(crate) output: Format,
    /// Log to standard error; more of it the more often it is given (finer: KUBETETHER_LOG=kubetether=debug)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How long a start may take
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    start_deadline: u32,
    /// How long putting everything back may take; connections that are still open get a part of it
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    stop_deadline: u32,
    /// Connections to each agent: exactly as many
    #[arg(long, global = true, value_name = "COUNT", hide = true, value_parser = clap::value_parser!(u8).range(1..=8))]
    carriers: Option<u8>,
    /// Seconds that open connections wait for this machine to come back
    #[arg(long, global = true, value_name = "SECONDS", hide = true, value_parser = clap::value_parser!(u16).range(1..))]
    grace: Option<u16>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Exchange(exchange::Args),
    Forward(forward::Args),
    Status(status::Args),
    Clean(clean::Args),
    Recover(recover::Args),
    Completions(completions::Args),
}

impl Global {
    /// The engine's settings.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new().start_deadline(Duration::from_secs(self.start_deadline.into()));
        if let Some(name) = &self.namespace {
            config = config.namespace(name);
        }
        if let Some(name) = &self.context {
            config = config.context(name);
        }
        if let Some(path) = &self.kubeconfig {
            config = config.kubeconfig(path);
        }
        if let Some(path) = &self.agent {
            config = config.agent(AgentSource::File(path.clone()));
        }
        if let Some(image) = &self.agent_image {
            config = config.agent(AgentSource::Image(image.clone()));
        }
        if let Some(count) = self.carriers {
            config = config.carriers(count.into()).most_carriers(count.into());
        }
        if let Some(seconds) = self.grace {
            config = config.grace(Duration::from_secs(seconds.into()));
        }
        config
    }

    pub(crate) fn stop_deadline(&self) -> Duration {
        Duration::from_secs(self.stop_deadline.into())
    }
}

/// Parses a value of the engine's, with its hint in the message.
pub(crate) fn parse<T: std::str::FromStr<Err = kubetether::Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: kubetether::Error| error.report())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn refused(line: &str) -> clap::Error {
        Cli::try_parse_from(line.split(' ')).expect_err(line)
    }

    #[test]
    fn clap_finds_no_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_stand_before_or_after_the_subcommand() {
        for line in [
            "kubetether -n shop --context c --kubeconfig k -o json -vv exchange orders --to 8080",
            "kubetether exchange orders --to 8080 -n shop --context c --kubeconfig k -o json -vv",
        ] {
            let global = Cli::try_parse_from(line.split(' ')).unwrap().global;
            assert_eq!(global.namespace.as_deref(), Some("shop"));
            assert_eq!(global.context.as_deref(), Some("c"));
            assert_eq!(global.kubeconfig, Some(PathBuf::from("k")));
            assert_eq!((global.output, global.verbose), (Format::Json, 2));
        }
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for line in [
            "kubetether",
            "kubetether frobnicate",
            "kubetether exchange orders",
            "kubetether exchange --to 80",
            "kubetether exchange frob/x --to 80",
            "kubetether exchange orders --to 0",
            "kubetether exchange orders --to x",
            "kubetether forward",
            "kubetether forward db",
            "kubetether forward db:5432 --port 70000",
            "kubetether forward db:5432 -o yaml",
            "kubetether forward db:5432 --start-deadline 0",
            "kubetether completions cobol",
            "kubetether status orders",
            "kubetether clean --dry",
            "kubetether recover",
            "kubetether recover frob/x",
            "kubetether status -A -n shop",
            "kubetether status --now --watch",
        ] {
            assert_eq!(refused(line).exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn all_namespaces_stand_before_or_after_the_subcommand() {
        for line in ["kubetether -A status", "kubetether status -A", "kubetether clean --all-namespaces"] {
            assert!(Cli::try_parse_from(line.split(' ')).unwrap().global.all_namespaces, "{line}");
        }
    }

    #[test]
    fn the_hint_of_the_engine_is_shown() {
        let text = refused("kubetether forward db").to_string();
        assert!(text.contains("write HOST:PORT, as in db:5432"), "{text}");
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        for (line, kind) in [
            ("kubetether --version", ErrorKind::DisplayVersion),
            ("kubetether --help", ErrorKind::DisplayHelp),
            ("kubetether exchange -h", ErrorKind::DisplayHelp),
        ] {
            let error = refused(line);
            assert_eq!((error.kind(), error.exit_code()), (kind, 0));
        }
    }
}
