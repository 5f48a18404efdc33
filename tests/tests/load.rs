//! Many connections, and nothing of them stays. A program of its own: what its process holds is then the
//! engine's alone.

use kubetether::{Exchange, To};
use kubetether_tests::{
    Apart, App, CLOSE, Client, Held, LOCAL, LONG, Load, Outcome, Scenario, eventually, of_agents,
    of_this_process, scenario,
};

const PARALLEL: u64 = 1000;
const SEQUENTIAL: u64 = 10_000;

/// Memory that allocators keep for themselves, and the noise of a machine.
const SLACK_KIB: u64 = 4 * 1024;

fn all_answered(load: &Load, count: u64) {
    assert_eq!((load.names.get(LOCAL), load.errors.len()), (Some(&count), 0), "{load:?}");
}

/// What this process and the agent hold when no connection is open.
async fn at_rest(at: &Scenario, exchange: &Exchange) -> (Held, Held) {
    eventually("the connections' end", LONG, async || match exchange.stats().open {
        0 => Ok(()),
        open => Err(format!("{open} are open")),
    })
    .await;
    let mut agents = of_agents(at.namespace()).await;
    assert_eq!(agents.len(), 1);
    (of_this_process(), agents.remove(0))
}

async fn burst(client: &Client, sequential: u64) {
    all_answered(&client.parallel("http://orders/", PARALLEL).await, PARALLEL);
    all_answered(&client.sequential("http://orders/", sequential).await, sequential);
}

#[test]
fn a_thousand_at_once_and_ten_thousand_in_a_row() {
    scenario("load", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Apart::http().await;
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();

        // Buffers and threads that come with the first load and stay are no leak.
        burst(&client, PARALLEL).await;
        let (here, agent) = at_rest(at, &exchange).await;
        burst(&client, SEQUENTIAL).await;
        eventually("descriptors and memory are back where they were", LONG, async || {
            let (here_now, agent_now) = at_rest(at, &exchange).await;
            let back = |now: &Held, before: &Held| {
                now.descriptors <= before.descriptors && now.rss_kib <= before.rss_kib + SLACK_KIB
            };
            if back(&here_now, &here) && back(&agent_now, &agent) {
                Ok(())
            } else {
                Err(format!("{here:?} -> {here_now:?}; {agent:?} -> {agent_now:?}"))
            }
        })
        .await;
        let count = 2 * PARALLEL + PARALLEL + SEQUENTIAL;
        assert_eq!(exchange.stats().connections, count);
        session.close(CLOSE).await.good();
    });
}
