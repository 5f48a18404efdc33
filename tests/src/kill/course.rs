//! What a client does from its start to its end.

use std::time::Duration;

use crate::app::{App, CLUSTER};
use crate::client::Client;
use crate::command::{Command, Ended};
use crate::local::{LOCAL, Local};
use crate::wait::{LONG, eventually};

/// A start that fails and all that it has begun is undone.
const UNDONE: Duration = Duration::from_secs(120);

/// What the client does; each is one life of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// A forward.
    Forward,
    /// An exchange of a Service with two ports, of which one is exchanged.
    Exchange,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Start,
    Life,
    Close,
}

impl Course {
    /// As in `exchange`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Exchange => "exchange",
        }
    }

    pub(super) fn app() -> App {
        App::orders().port("admin", 81, 8080)
    }

    /// The command's words.
    pub(super) fn words(self, local: &Local) -> Vec<String> {
        match self {
            Self::Forward => ["forward", "orders:80"].map(str::to_owned).to_vec(),
            Self::Exchange => {
                ["exchange", "orders", "--to", &format!("{}:http", local.port())].map(str::to_owned).to_vec()
            }
        }
    }

    /// Leads the command through its life; how it ended.
    pub(super) async fn lead(self, command: &mut Command, client: &Client, phase: &mut Phase) -> Ended {
        let told = command.told_one_of(&[self.name(), "error"], UNDONE).await;
        if told["type"] == "error" {
            return command.end().await;
        }
        *phase = Phase::Life;
        eventually("its result is usable", LONG, async || {
            let (who, wanted) = match self {
                Self::Forward => {
                    let url = format!("http://{}/", told["address"].as_str().unwrap_or_default());
                    (Client::here().who(&url).await, CLUSTER)
                }
                Self::Exchange => (client.who("http://orders/").await, LOCAL),
            };
            if who == wanted { Ok(()) } else { Err(who) }
        })
        .await;
        *phase = Phase::Close;
        command.signal("INT").await;
        command.end().await
    }
}
