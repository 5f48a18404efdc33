//! The life of a session.

use kubetether::{
    ErrorCode, Event, ExchangeOptions, ForwardOptions, HandleState, Session, SessionState, To, blocking,
};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Client, LOCAL, LONG, Local, Namespace, Outcome, Security, scenario,
};

/// Steps that the start of an exchange tells of.
const STEPS: u32 = 6;

#[test]
fn events_tell_everything_in_order() {
    scenario("events", async |at| {
        at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let mut events = session.events();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let id = exchange.id();
        let mut late = session.events();
        session.close(CLOSE).await.good();
        assert!(matches!(session.state(), SessionState::Closed(_)));

        let (mut steps, mut states, mut ends, mut first) = (Vec::new(), Vec::new(), 0, None);
        while let Some(event) = events.next().await {
            first.get_or_insert_with(|| event.clone());
            if let Event::Progress { id: Some(of), step, .. } = event {
                assert_eq!(of, id);
                steps.push(step);
            } else if let Event::Handle(info) = event {
                assert_eq!(info.id, id);
                states.push(info.state);
            } else if let Event::Closed(_) = event {
                ends += 1;
            }
        }
        assert!(matches!(first, Some(Event::Snapshot { session: SessionState::Ready, .. })), "{first:?}");
        assert_eq!(steps, (1..=STEPS).collect::<Vec<_>>());
        assert_eq!(
            states,
            [HandleState::Starting, HandleState::Active, HandleState::Closing, HandleState::Closed]
        );
        assert_eq!((ends, events.dropped()), (1, 0));
        let Some(Event::Snapshot { handles, .. }) = late.next().await else { panic!("no snapshot first") };
        assert_eq!((handles.len(), handles[0].id), (1, id));
        // A subscription of a session that is over still ends.
        let mut after = session.events();
        assert!(matches!(after.next().await, Some(Event::Snapshot { .. })));
        assert!(matches!(after.next().await, Some(Event::Closed(_))));
        assert!(after.next().await.is_none());
    });
}

#[test]
fn a_start_cancelled_at_any_step_leaves_nothing() {
    scenario("cancel", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        for step in 1..=STEPS {
            let session = at.session().await;
            let mut events = session.events();
            let reached = async {
                while let Some(event) = events.next().await {
                    if matches!(event, Event::Progress { step: now, .. } if now == step) {
                        return;
                    }
                }
            };
            tokio::select! {
                biased;
                () = reached => {}
                done = session.exchange("orders", To::port(local.port())) => {
                    // The last step and the end of the start may come as one.
                    assert_eq!(step, STEPS, "step {step} of the start was never told: {done:?}");
                }
            }
            session.close(CLOSE).await.good();
            at.assert_clean().await;
            assert_eq!(client.who("http://orders/").await, CLUSTER, "cancelled in step {step}");
        }
    });
}

#[test]
fn a_dropped_session_closes_itself() {
    scenario("drop", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let _forward = session.forward("orders:80").await.good();
        let copy = session.clone();
        drop(session);
        assert_eq!(client.who("http://orders/").await, LOCAL, "a copy lives");
        drop(copy);
        let over = tokio::time::timeout(LONG, exchange.closed()).await.expect("the exchange goes on");
        assert_eq!(over, HandleState::Closed);
        at.cleaned_up(LONG).await;
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}

#[test]
fn a_dropped_exchange_gives_its_service_back() {
    scenario("drop-exchange", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let asker = client.ask("http://orders/", 20).await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        asker.answered_by(LOCAL, asker.mark().await, 5).await;
        drop(exchange);
        asker.answered_by(CLUSTER, asker.mark().await, 20).await;
        session.close(CLOSE).await.good();
        assert!(asker.stop().await.lost().is_empty());
    });
}

#[test]
fn closing_twice_and_after_the_end() {
    scenario("close-twice", async |at| {
        at.shop(&App::orders()).await;
        let local = Local::http();
        let session = at.session().await;
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        // At an address that nobody else uses: a port of 127.0.0.1 may be another test's a moment after it was given up.
        let alone = ForwardOptions::new().bind([127, 90, 0, 1].into());
        let forward = session.forward_with("orders:80", alone).await.good();
        let (one, other) = tokio::join!(exchange.close(CLOSE), exchange.close(CLOSE));
        one.good();
        other.good();
        let (one, other) = tokio::join!(session.close(CLOSE), session.close(CLOSE));
        one.good();
        other.good();
        session.close(CLOSE).await.good();
        exchange.close(CLOSE).await.good();
        forward.close(CLOSE).await.good();
        assert_eq!(Client::here().who(&format!("http://{}/", forward.address())).await, "fault: refused");
        session.exchange("orders", To::port(1)).await.bad(ErrorCode::Closed, &[]);
        session.forward("orders:80").await.bad(ErrorCode::Closed, &[]);
        assert!(!session.closed().await.is_empty(), "the reason is told");
    });
}

#[test]
fn two_sessions_in_one_process() {
    scenario("two-sessions", async |at| {
        App::new("stock").port("http", 80, 8080).deploy(at.namespace()).await;
        let client = at.shop(&App::orders()).await;
        let (one, other) = (Local::named("http", "one"), Local::named("http", "other"));
        let (first, second) = tokio::join!(at.session(), at.session());
        assert_ne!(first.id(), second.id());
        let (orders, stock) = tokio::join!(
            first.exchange("orders", To::port(one.port())),
            second.exchange("stock", To::port(other.port()))
        );
        let (_orders, stock) = (orders.good(), stock.good());
        // They share the gateway.
        let (forward, same) = tokio::join!(first.forward("stock:80"), second.forward("orders:80"));
        let (_forward, same) = (forward.good(), same.good());
        assert_eq!(client.who("http://orders/").await, "one");
        assert_eq!(client.who("http://stock/").await, "other");
        first.close(CLOSE).await.good();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
        assert_eq!(client.who("http://stock/").await, "other");
        let url = format!("http://{}/", same.address());
        assert_eq!(Client::here().who(&url).await, CLUSTER, "the gateway stays for the other");
        stock.close(CLOSE).await.good();
        second.close(CLOSE).await.good();
    });
}

#[test]
fn the_blocking_face() {
    scenario("blocking", async |at| {
        let client = at.shop(&App::orders()).await;
        let local = Local::http();
        let (config, port) = (at.config(), local.port());
        let started = tokio::task::spawn_blocking(move || {
            let session = blocking::Session::start(config).good();
            let mut events = session.events();
            assert!(matches!(events.next(CLOSE).good(), Some(Event::Snapshot { .. })));
            let exchange = session.exchange("orders", To::port(port), ExchangeOptions::new()).good();
            let forward = session.forward("deploy/orders:8080", ForwardOptions::new()).good();
            (session, exchange, forward)
        });
        let (session, exchange, forward) = started.await.unwrap();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        assert_eq!(Client::here().who(&format!("http://{}/", forward.address())).await, CLUSTER);
        let closed = tokio::task::spawn_blocking(move || {
            exchange.close(CLOSE).good();
            session.close(CLOSE).good();
            // Also the last handle's drop is for a thread that may block.
            drop((session, exchange, forward));
        });
        closed.await.unwrap();
        assert_eq!(client.who("http://orders/").await, CLUSTER);
    });
}

#[test]
fn a_namespace_that_is_deleted() {
    scenario("doomed", async |at| {
        let doomed = Namespace::create(at.cluster().client().clone(), "doomed", Security::Privileged).await;
        App::orders().deploy(&doomed).await;
        let local = Local::http();
        let session = Session::start(at.config().namespace(doomed.name())).await.good();
        let exchange = session.exchange("orders", To::port(local.port())).await.good();
        let forward = session.forward("orders:80").await.good();
        doomed.delete().await;
        let over = tokio::time::timeout(LONG, session.closed()).await.expect("the session does not notice");
        assert!(over.contains(doomed.name()), "{over}");
        assert!(matches!(session.state(), SessionState::Closed(_)));
        let lost = exchange.closed().await;
        assert!(lost.reason().is_some_and(|reason| !reason.is_empty()), "{lost:?}");
        let closed = forward.closed().await;
        assert!(closed.is_over(), "{closed:?}");
        // Nothing is left to do.
        session.close(CLOSE).await.good();
        session.exchange("orders", To::port(1)).await.bad(ErrorCode::Closed, &[]);
    });
}

/// What `Session::start` gives can be sent to other threads and used by several at once.
#[test]
fn handles_are_for_all_threads() {
    fn demand<T: Send + Sync + 'static>() {}
    demand::<Session>();
    demand::<kubetether::Exchange>();
    demand::<kubetether::Forward>();
    demand::<kubetether::Error>();
}
