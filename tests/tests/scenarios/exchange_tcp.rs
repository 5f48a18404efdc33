//! What is true of a TCP connection to a pod is true of one that comes here.

use kubetether::{Event, Exchange, Session, To};
use kubetether_tests::{
    App, CLOSE, CLUSTER, Client, Closed, LOCAL, LONG, Local, Outcome, SHORT, eventually, scenario,
};
use kubetether_workload::content::Sum;

/// The habits of servers that tunnels get wrong, by the Service's port.
const HABITS: [(&str, u16); 6] =
    [("http", 80), ("echo", 7), ("greet", 25), ("collect", 81), ("say", 82), ("reset", 83)];

const MIB: u64 = 1024 * 1024;

/// An application with all habits.
fn app() -> App {
    let mut app = App::orders();
    for (habit, port) in &HABITS[1..] {
        app = app.serving(habit, 9000 + port).port(habit, *port, 9000 + port);
    }
    app
}

/// Demands each habit of whoever answers at `host`'s ports by `name`.
pub(crate) async fn demand_habits(client: &Client, name: &str, at: impl Fn(u16) -> String) {
    let talk = async |port: u16, steps: &[&str]| client.talk(&at(port), steps).await.unwrap().join("; ");
    let sum = Sum::generated(100_000);

    let steps = ["line", "send:HELO\\n", "line", "send:QUIT\\n", "line", "line"];
    let greeted = talk(25, &steps).await;
    assert_eq!(
        greeted,
        format!("connected; line 220 name={name} ready; sent; line 250 HELO; sent; line 221 bye; end")
    );

    let echoed = talk(7, &["fill:100000", "fin", "rest"]).await;
    assert_eq!(echoed, format!("connected; sent; finished; {sum}"), "echo after the caller's end");

    let collected = talk(81, &["fill:100000", "fin", "text"]).await;
    assert_eq!(
        collected,
        format!("connected; sent; finished; text name={name} {sum}"),
        "the caller ends first"
    );

    let said = talk(82, &["line", "line", "fill:100000", "fin"]).await;
    assert_eq!(said, format!("connected; line name={name}; end; sent; finished"), "the server ends first");

    let reset = talk(83, &["line", "send:x\\n", "line"]).await;
    assert_eq!(reset, format!("connected; line name={name}; sent; fault reset"), "a reset arrives as one");

    let aborted = talk(7, &["send:x\\n", "line", "reset"]).await;
    assert_eq!(aborted, "connected; sent; line x; aborted");
}

async fn expose_all(session: &Session) -> (Vec<Local>, Exchange) {
    let locals: Vec<Local> = HABITS.iter().map(|(habit, _)| Local::new(habit)).collect();
    let entries =
        locals.iter().zip(HABITS).map(|(local, (_, port))| To::port(local.port()).for_service_port(port));
    let to = entries.reduce(To::and).unwrap();
    let exchange = session.exchange("orders", to).await.good();
    (locals, exchange)
}

#[test]
fn half_close_resets_and_server_first() {
    scenario("habits", async |at| {
        let client = at.shop(&app()).await;
        let session = at.session().await;
        let (locals, exchange) = expose_all(&session).await;
        demand_habits(&client, LOCAL, |port| format!("orders:{port}")).await;
        // What the servers here saw of it.
        let sum = Sum::generated(100_000);
        for (habit, wanted) in [
            (1, vec!["echo end".to_owned(), "echo fault reset".to_owned()]),
            (4, vec![format!("say {sum}"), "say end".to_owned()]),
        ] {
            eventually("the server's own view", SHORT, async || {
                let log = locals[habit].log();
                if log == wanted { Ok(()) } else { Err(format!("{log:?}")) }
            })
            .await;
        }
        assert_eq!(exchange.stats().refused, 0);
        session.close(CLOSE).await.good();
    });
}

/// The same of ports that are not exposed: the interceptor leads them to the originals.
#[test]
fn what_passes_through_is_no_different() {
    scenario("habits-passed", async |at| {
        let client = at.shop(&app()).await;
        let local = Local::http();
        let session = at.session().await;
        let _exchange = session.exchange("orders", To::port(local.port()).for_service_port(80)).await.good();
        assert_eq!(client.who("http://orders/").await, LOCAL);
        demand_habits(&client, CLUSTER, |port| format!("orders:{port}")).await;
        session.close(CLOSE).await.good();
    });
}

#[test]
fn a_local_server_that_is_absent_or_slow() {
    scenario("absent-slow", async |at| {
        let client = at.shop(&App::orders()).await;
        let closed = Closed::new();
        let session = at.session().await;
        let mut events = session.events();
        let nobody = format!("nothing listens at 127.0.0.1:{}", closed.port());
        let exchange = session.exchange("orders", To::port(closed.port())).await.good();
        let is_told = |event: &Event| matches!(event, Event::Notice { text, .. } if text.contains(&nobody));
        // Before anybody called.
        let told = async { while !is_told(&events.next().await.expect("the session is over")) {} };
        tokio::time::timeout(LONG, told).await.expect("nobody says that nobody is there");
        // The caller's handshake is with the interceptor, so the refusal comes right after it.
        for _ in 0..3 {
            let answer = client.who("http://orders/").await;
            assert!(matches!(&*answer, "fault: reset" | "fault: refused"), "{answer}");
        }
        assert_eq!(exchange.stats().refused, 3);

        let _local = Local::http_at(closed.release());
        assert_eq!(client.who("http://orders/").await, LOCAL, "it is there now");
        let slow = client.get("http://orders/slow?ms=3000").await;
        assert!(slow.as_ref().is_ok_and(|body| body.contains("path=/slow")), "{slow:?}");
        session.close(CLOSE).await.good();
        while let Some(event) = events.next().await {
            assert!(!is_told(&event), "it is said once that nobody is there");
        }
    });
}

#[test]
fn bodies_of_10_mib_both_ways() {
    scenario("bodies", async |at| {
        let client = at.shop(&app()).await;
        let session = at.session().await;
        let (_locals, exchange) = expose_all(&session).await;
        let (down, up) = tokio::join!(
            client.bulk("down", "http://orders", 10 * MIB),
            client.bulk("up", "http://orders", 10 * MIB)
        );
        assert_eq!((down, up), (Ok(()), Ok(())));
        let stats = eventually("the connections' end", SHORT, async || {
            let stats = exchange.stats();
            if stats.open == 0 { Ok(stats) } else { Err(format!("{stats:?}")) }
        })
        .await;
        assert!(stats.sent > 10 * MIB && stats.received > 10 * MIB, "{stats:?}");
        session.close(CLOSE).await.good();
    });
}
