//! `kubetether exchange TARGET --to ENDPOINTS`

use kubetether::{Target, To};

use crate::args::parse;
use crate::run::Work;

/// Bring all traffic of a Service to this machine, until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kubetether exchange orders --to 8080             its port 8080, or the one that targets 8080, or its only one
  kubetether exchange orders --to 8080:80,8443:443 two of its ports; the others go on to the original pods
  kubetether exchange orders --to /run/orders.sock:http")]
pub(crate) struct Args {
    /// The Service: its name, or svc/NAME
    #[arg(value_parser = parse::<Target>)]
    target: Target,
    /// Where on this machine, and for which of its ports: [HOST:]PORT or /SOCKET, then [:SERVICE_PORT], separated by commas
    #[arg(long, value_name = "ENDPOINTS", required = true, value_parser = parse::<To>)]
    to: Vec<To>,
}

impl Args {
    pub(crate) fn work(self) -> Vec<Work> {
        let to = self.to.into_iter().reduce(To::and);
        to.map(|to| Work::Exchange { target: self.target, to }).into_iter().collect()
    }
}
