//! Nothing stays: a link that has ended leaves no task and no descriptor. Alone in its process, since it counts both.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::*;
use kubetether_link::GoodbyeCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn one_life(round: usize) {
    let mut ends = Ends::new(3).await;
    let (mut near, mut far) = ends.stream().await;
    near.write_all(&noise(100_000)).await.unwrap();
    far.write_all(b"unread").await.unwrap();
    let mut some = [0; 1000];
    far.read_exact(&mut some).await.unwrap();
    ends.carriers.remove(0).cut();
    match round % 3 {
        // Closed while streams are open and carriers busy.
        0 => ends.client.close(GoodbyeCode::Closed, ""),
        // The agent's side goes first.
        1 => ends.agent.close(GoodbyeCode::Internal, ""),
        // Every handle is dropped, then the streams.
        _ => {
            let agent = ends.agent.clone();
            drop(ends.client);
            must("the agent's end", agent.closed()).await;
            return;
        }
    }
    must("the client's end", ends.client.closed()).await;
    must("the agent's end", ends.agent.closed()).await;
    assert_eq!(*ends.acceptor.links().borrow(), 0);
}

#[tokio::test]
async fn a_link_that_has_ended_leaves_nothing() {
    one_life(0).await;
    let tasks = Handle::current().metrics();
    let settled = async |tasks_before: usize, descriptors_before: usize| {
        while tasks.num_alive_tasks() > tasks_before || descriptors() > descriptors_before {
            tokio::task::yield_now().await;
        }
    };
    must("the first one's end", settled(0, usize::MAX)).await;
    let before = descriptors();
    for round in 0..30 {
        one_life(round).await;
    }
    must("the end of all tasks", settled(0, before)).await;
}
