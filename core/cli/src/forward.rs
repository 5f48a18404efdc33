//! `kubetether forward DESTINATION...`

use kubetether::Destination;

use crate::args::parse;
use crate::run::Work;

/// Open local ports to destinations as the cluster sees them, until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubetether forward db:5432                       a free local port, printed when it is usable
  kubetether forward db:5432 --port 5432
  kubetether forward db:5432 svc/cache:redis pod/web-0:8080
  kubetether forward kube-dns.kube-system:53/udp   a local UDP port")]
pub(crate) struct Args {
    /// Where to: HOST:PORT, or svc/NAME:PORT, deploy/NAME:PORT, pod/NAME:PORT; with /udp behind the port of UDP
    #[arg(required = true, value_name = "DESTINATION", value_parser = parse::<Destination>)]
    destinations: Vec<Destination>,
    /// The local port; with several destinations once for each, in their order [default: a free one]
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
}

impl Args {
    /// # Errors
    /// There are more ports than destinations.
    pub(crate) fn work(self) -> Result<Vec<Work>, String> {
        let (ports, destinations) = (self.ports.len(), self.destinations.len());
        if ports > destinations {
            return Err(format!(
                "--port is given {ports} times for {destinations} destination(s): give it once for each, or leave it out"
            ));
        }
        let ports = self.ports.into_iter().chain(std::iter::repeat(0));
        let pairs = self.destinations.into_iter().zip(ports);
        Ok(pairs.map(|(destination, port)| Work::Forward { destination, port }).collect())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn work(line: &str) -> Result<Vec<Work>, String> {
        match Cli::try_parse_from(line.split(' ')).map(|cli| cli.command) {
            Ok(Command::Forward(args)) => args.work(),
            other => panic!("{other:?}"),
        }
    }

    fn ports(line: &str) -> Vec<u16> {
        let port = |work: Work| match work {
            Work::Forward { port, .. } => port,
            Work::Exchange { .. } => panic!("not a forward"),
        };
        work(line).unwrap().into_iter().map(port).collect()
    }

    #[test]
    fn ports_go_to_the_destinations_in_their_order() {
        assert_eq!(ports("kubetether forward a:1 b:2"), [0, 0]);
        assert_eq!(ports("kubetether forward a:1 b:2 --port 5000"), [5000, 0]);
        assert_eq!(ports("kubetether forward a:1 b:2 --port 5000 --port 6000"), [5000, 6000]);
        assert!(work("kubetether forward a:1 --port 5000 --port 6000").is_err());
    }
}
