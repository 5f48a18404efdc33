//! One Service is put back by hand.

use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kubetether::{ErrorCode, HandleState, RecoverOptions, SessionState, To, recover};
use kubetether_tests::{App, CLOSE, CLUSTER, Command, LOCAL, LONG, Local, Outcome, scenario};
use serde_json::json;

use crate::care::{answers, exchanged, hurry, told};

#[test]
fn while_its_holder_lives() {
    scenario("recover-lives", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = kubetether::Session::start(at.config().who("ana@laptop")).await.good();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let asker = client.ask("http://orders/", 20).await;
        asker.answered_by(LOCAL, asker.mark().await, 20).await;

        let config = at.config().who("ben@desk");
        let done = recover(&config, "orders", RecoverOptions::new()).await.good();
        assert!(done.changed && done.untold.is_empty(), "{done:#?}");
        assert_eq!(done.held_by, ["ana@laptop"]);
        let over = tokio::time::timeout(LONG, exchange.closed()).await.expect("its exchange goes on");
        assert!(matches!(&over, HandleState::Lost(reason) if reason.contains("ben@desk")), "{over}");
        asker.answered_by(CLUSTER, asker.mark().await, 50).await;
        let report = asker.stop().await;
        assert!(report.lost().is_empty(), "{report}");
        assert_eq!(session.state(), SessionState::Ready);

        // Nothing to do the second time; and what is wanted again is had again.
        let done = recover(&config, "orders", RecoverOptions::new()).await.good();
        assert!(!done.changed, "{done:#?}");
        let again = session.exchange("orders", To::port(local.port())).await.good();
        answers(&client, LOCAL).await;
        assert_eq!(again.state(), HandleState::Active);
        session.close(CLOSE).await.good();
    });
}

#[test]
fn after_its_holder_was_killed_and_its_note_was_lost() {
    Command::prepare();
    scenario("recover-noteless", async |at| {
        let local = Local::http();
        let (client, command) = exchanged(at, &local).await;
        command.signal("KILL").await;
        command.ended().await;
        let off = json!({ "metadata": { "annotations": { "kubetether.dev/exchange": null } } });
        let services = at.namespace().api::<Service>();
        services.patch("orders", &PatchParams::default(), &Patch::Merge(off)).await.unwrap();
        let done = told(at, &["recover", "orders"], "recover").await;
        assert_eq!(done["changed"], true, "{done:#}");
        answers(&client, CLUSTER).await;
        hurry(at).await;
        told(at, &["clean"], "clean").await;
    });
}

#[test]
fn what_cannot_be_put_back_is_said() {
    scenario("recover-refused", async |at| {
        at.shop(&App::orders()).await;
        let config = at.config();
        let options = RecoverOptions::new;
        recover(&config, "nope", options()).await.bad(ErrorCode::NoSuchTarget, &["services/nope"]);
        recover(&config, "deploy/orders", options()).await.bad(ErrorCode::Unsupported, &["deploy/orders"]);
        let done = recover(&config, "svc/orders", options()).await.good();
        assert!(!done.changed && done.held_by.is_empty(), "{done:#?}");
    });
}
