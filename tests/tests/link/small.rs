//! Little to live on: few descriptors here, little memory there.

#![allow(clippy::print_stdout, reason = "a test's output is shown when it fails")]

use kubetether_tests::proxy::{Cut, Proxy};
use kubetether_tests::{Apart, App, Client, Command, Plan, Traffic, within_limit};

const DESCRIPTORS: &str = "--nofile=64:64";
/// Connections one after another, of which many more are asked for at once than there are descriptors.
const SHORT: u64 = 400;
const WORKERS: u64 = 100;

#[test]
fn a_client_with_64_descriptors() {
    Command::prepare();
    within_limit("few-descriptors", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Apart::http().await;
        let proxy = Proxy::start(at.cluster().kubeconfig()).await.unwrap();
        let start = |args: &[&str]| {
            let namespace = at.namespace().name();
            let all = [&["--namespace", namespace], args].concat();
            Command::start_under(&["prlimit", DESCRIPTORS], proxy.kubeconfig(), &all)
        };
        let mut exchange = start(&["exchange", "orders", "--to", &local.port().to_string()]);
        let mut forward = start(&["forward", "deploy/orders:8080"]);
        let (_, forwarded) = tokio::join!(exchange.told("exchange"), forward.told("forward"));
        let address = forwarded["address"].as_str().unwrap().to_owned();
        let plan = Plan::full().idle(12);
        let (out, into) =
            tokio::join!(Traffic::here(&address, plan), Traffic::in_pod(at.namespace(), "orders:80", plan));
        tokio::join!(out.running(), into.running());

        let here = Client::here();
        let url = format!("http://{address}/");
        let many = async {
            tokio::join!(here.many(&url, SHORT, WORKERS), client.many("http://orders/", SHORT, WORKERS))
        };
        let cuts = async {
            // New carriers need descriptors, too.
            let before = (out.told().await, into.told().await);
            tokio::join!(out.moves_on(&before.0), into.moves_on(&before.1));
            proxy.wire().cut(Cut::All);
        };
        let ((by_forward, by_exchange), ()) = tokio::join!(many, cuts);
        println!("by the forward {by_forward:?}, by the exchange {by_exchange:?}");
        // While its link is away, the exchange's new callers are answered by the original.
        for load in [by_forward, by_exchange] {
            assert_eq!((load.names.values().sum(), load.errors.len()), (SHORT, 0), "{load:?}");
        }
        let (out, into) = tokio::join!(out.finish(), into.finish());
        println!("out:  {out}\ninto: {into}");
        for command in [exchange, forward] {
            command.signal("INT").await;
            let ended = command.ended().await;
            assert_eq!(ended.code, Some(0), "{ended:#?}");
        }
    });
}
