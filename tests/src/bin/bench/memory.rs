//! `agent.*` and `client.rss`: what is carried, and what is held while an exchange and a forward idle.

use kubetether_tests::{App, Command, LOCAL, Local, of_agents, of_process, root, scenario};

use crate::figure::Figure;

const MIB: u64 = 1024 * 1024;

pub(crate) fn measure() -> Vec<Figure> {
    let file = root().join(format!("target/agent/kubetether-agent-{}", std::env::consts::ARCH));
    let carried =
        std::fs::metadata(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).len();
    let (mut agent, mut client) = (0, 0);
    scenario("bench-memory", async |at| {
        let pod = at.shop(&App::orders()).await;
        let local = Local::http();
        let port = local.port().to_string();
        let mut exchange = Command::start(at, &["exchange", "orders", "--to", &port]);
        let mut forward = Command::start(at, &["forward", "orders:80"]);
        exchange.told("exchange").await;
        forward.told("forward").await;
        // Used once: what the first connection brings is part of it.
        assert_eq!(pod.who("http://orders/").await, LOCAL);
        let agents = of_agents(at.namespace()).await;
        assert_eq!(agents.len(), 2, "{agents:?}");
        agent = agents.iter().map(|held| held.rss_kib * 1024).max().unwrap_or_default();
        client = of_process(exchange.id()).rss_kib * 1024;
        for command in [exchange, forward] {
            command.signal("INT").await;
            assert_eq!(command.ended().await.code, Some(0));
        }
    });
    vec![
        Figure::bytes("agent.carried", carried, Some(2 * MIB)),
        Figure::bytes("agent.rss", agent, Some(16 * MIB)),
        Figure::bytes("client.rss", client, None),
    ]
}
