//! The client's process sleeps, as laptops do.

use std::time::Duration;

use kubetether_tests::{Apart, App, Command, Plan, Traffic, within_limit};

const ASLEEP: Duration = Duration::from_secs(20);

#[test]
fn for_twenty_seconds() {
    Command::prepare();
    within_limit("stopped", async |at| {
        at.shop(&App::orders()).await;
        let local = Apart::http().await;
        let to = local.port().to_string();
        let mut exchange = Command::start(at, &["exchange", "orders", "--to", &to]);
        let mut forward = Command::start(at, &["forward", "deploy/orders:8080"]);
        let (_, forwarded) = tokio::join!(exchange.told("exchange"), forward.told("forward"));
        let (out, into) = tokio::join!(
            Traffic::here(forwarded["address"].as_str().unwrap(), Plan::full()),
            Traffic::in_pod(at.namespace(), "orders:80", Plan::full())
        );
        tokio::join!(out.running(), into.running());

        for command in [&exchange, &forward] {
            command.signal("STOP").await;
        }
        tokio::time::sleep(ASLEEP).await;
        for command in [&exchange, &forward] {
            command.signal("CONT").await;
        }
        let (before_out, before_into) = tokio::join!(out.told(), into.told());
        tokio::join!(out.moves_on(&before_out), into.moves_on(&before_into));
        tokio::join!(out.finish(), into.finish());

        for command in [exchange, forward] {
            command.signal("INT").await;
            let ended = command.ended().await;
            assert_eq!(ended.code, Some(0), "{ended:#?}");
        }
    });
}
