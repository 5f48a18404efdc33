//! What a program says before its stream is open.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::*;
use kubetether_link::{Early, End, GoodbyeCode, Open, OpenError, Refusal, RefusalCode, relay};
use tokio::io::AsyncWriteExt;

/// A question that reaches the far end before it has answered the opening.
#[tokio::test]
async fn it_arrives_before_the_answer() {
    for before in [true, false] {
        let ends = Ends::new(1).await;
        let (mut near, socket) = tcp_pair().await;
        if before {
            near.write_all(b"question").await.unwrap();
            socket.readable().await.unwrap();
        }
        let client = ends.client.clone();
        let opening = tokio::spawn(async move {
            let mut early = Early::default();
            let stream = client.open_for(Open::Call, &socket, &mut early).await.unwrap();
            (early.len(), relay(stream, socket).await)
        });
        let incoming = must("the opening", ends.agent.accept()).await.unwrap();
        if !before {
            near.write_all(b"question").await.unwrap();
        }
        // Sent, though nobody has accepted: the link counts what came.
        must("the question", async {
            while ends.agent.stats().received < 8 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let mut far = incoming.accept();
        near.write_all(b", and more").await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(must("all of it", read_all(&mut far)).await, b"question, and more");
        far.write_all(b"answer").await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(must("the answer", read_all(&mut near)).await, b"answer");
        let (early, flow) = must("the relay", opening).await.unwrap();
        assert_eq!((early as u64 + flow.sent, flow.received, flow.end), (18, 6, End::Finished));
    }
}

#[tokio::test]
async fn where_it_was_refused_it_can_be_said_again() {
    let ends = Ends::new(1).await;
    let (mut near, socket) = tcp_pair().await;
    near.write_all(b"question").await.unwrap();
    socket.readable().await.unwrap();
    let client = ends.client.clone();
    let opening = tokio::spawn(async move {
        let mut early = Early::default();
        let refused = client.open_for(Open::Call, &socket, &mut early).await.unwrap_err();
        assert!(matches!(refused, OpenError::Refused(_)), "{refused}");
        assert_eq!(early.len(), 8);
        let stream = client.open_for(Open::Call, &socket, &mut early).await.unwrap();
        relay(stream, socket).await
    });
    let first = must("the opening", ends.agent.accept()).await.unwrap();
    first.refuse(Refusal::new(RefusalCode::Refused, "not here"));
    let mut far = must("the second one", ends.agent.accept()).await.unwrap().accept();
    near.shutdown().await.unwrap();
    assert_eq!(must("all of it", read_all(&mut far)).await, b"question");
    drop(far);
    must("the relay", opening).await.unwrap();
}

#[tokio::test]
async fn an_end_at_once_and_a_reset_are_seen_by_the_relay() {
    let ends = Ends::new(1).await;
    let (mut near, socket) = tcp_pair().await;
    near.shutdown().await.unwrap();
    socket.readable().await.unwrap();
    let client = ends.client.clone();
    let opening = tokio::spawn(async move {
        let mut early = Early::default();
        let stream = client.open_for(Open::Call, &socket, &mut early).await.unwrap();
        assert!(early.is_empty());
        relay(stream, socket).await
    });
    let mut far = must("the opening", ends.agent.accept()).await.unwrap().accept();
    assert_eq!(must("the end", read_all(&mut far)).await, b"");
    far.shutdown().await.unwrap();
    assert_eq!(must("the relay", opening).await.unwrap().end, End::Finished);
}

/// What failed before a byte was sent can be tried again; what may have arrived cannot.
#[tokio::test]
async fn it_is_known_whether_it_may_have_arrived() {
    let (mut near, socket) = tcp_pair().await;
    near.write_all(b"question").await.unwrap();
    socket.readable().await.unwrap();
    let mut early = Early::default();
    for (carriers, arrives) in [(0, false), (1, true)] {
        let mut ends = Ends::new(1).await;
        if carriers == 0 {
            ends.carriers.clear();
            ends.carriers_are(0).await;
        }
        let closing = async {
            if arrives {
                // Not answered.
                let incoming = must("the opening", ends.agent.accept()).await.unwrap();
                while ends.agent.stats().received < 8 {
                    tokio::task::yield_now().await;
                }
                drop((incoming, ends.client.close(GoodbyeCode::Closed, "")));
            } else {
                while ends.client.stats().queued < 8 {
                    tokio::task::yield_now().await;
                }
                ends.client.close(GoodbyeCode::Closed, "");
            }
        };
        let opening = ends.client.open_for(Open::Call, &socket, &mut early);
        let (opened, ()) = must("the failure", async { tokio::join!(opening, closing) }).await;
        assert!(opened.is_err());
        assert_eq!((early.len(), early.may_have_arrived()), (8, arrives));
    }
    // Given up while it waits for a carrier.
    let mut ends = Ends::new(1).await;
    ends.carriers.clear();
    ends.carriers_are(0).await;
    tokio::select! {
        _ = ends.client.open_for(Open::Call, &socket, &mut early) => panic!("nobody is there"),
        () = async { while ends.client.stats().queued < 8 { tokio::task::yield_now().await } } => {}
    }
    assert_eq!((early.len(), early.may_have_arrived()), (8, false));
    // On a closed link nothing even begins.
    ends.client.close(GoodbyeCode::Closed, "");
    assert!(ends.client.open_for(Open::Call, &socket, &mut early).await.is_err());
    assert!(!early.may_have_arrived());
}
