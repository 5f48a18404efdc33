//! Ends of streams that the model found to hang, each as small as it can be.

use std::time::Duration;

use kubetether_wire::{Event, Link, Open, Read, ResetCode, StreamError, StreamId};

use crate::support::{
    lane::BREAKS,
    world::{AGENT, CLIENT, Programs, World},
};

/// Takes what comes, and does nothing else.
#[derive(Default)]
struct Quiet {
    offered: Vec<StreamId>,
    readable: u32,
}

impl Programs for Quiet {
    fn event(&mut self, end: usize, event: Event, link: &mut Link) {
        match event {
            Event::Incoming(id, _) if end == AGENT => {
                link.accept(id);
                self.offered.push(id);
            }
            Event::Readable(_) => self.readable += 1,
            _ => {}
        }
    }
}

fn open(world: &mut World, quiet: &mut Quiet) -> StreamId {
    world.pass(quiet, Duration::from_millis(100));
    let dial = Open::Dial { host: "db".into(), port: 1, deadline: Duration::ZERO };
    let id = world.end(CLIENT).open(&dial).unwrap();
    world.pass(quiet, Duration::from_millis(100));
    assert_eq!(quiet.offered, [id]);
    id
}

/// Both write more than the other gives credit for, finish, and go without having read: each waits for the other's credit,
/// and gets it though its own bytes are not all said.
#[test]
fn both_leave_with_more_written_than_there_is_credit() {
    let (mut world, mut quiet) = (World::plain(1), Quiet::default());
    let id = open(&mut world, &mut quiet);
    for _ in 0..2 {
        for end in [CLIENT, AGENT] {
            while world.end(end).write_slice(id, &[7; 64 << 10]).unwrap() > 0 {}
        }
        world.pass(&mut quiet, Duration::from_millis(100));
    }
    for end in [CLIENT, AGENT] {
        assert!(world.stats(end).queued > 0, "all that was written could be said");
        world.end(end).finish(id);
        world.end(end).release(id);
    }
    world.pass(&mut quiet, Duration::from_secs(5));
    for end in [CLIENT, AGENT] {
        let stats = world.stats(end);
        assert_eq!((stats.streams, stats.queued, stats.buffered), (0, 0, 0), "end {end}");
    }
}

/// Bytes before a cut are lost with their carrier, and the peer has answered the cut: they are said again all the same.
#[test]
fn what_a_cut_promised_is_said_again_after_its_answer() {
    let (mut world, mut quiet) = (World::plain(2), Quiet::default());
    let id = open(&mut world, &mut quiet);
    world.end(AGENT).read(id, 100).unwrap();
    // What is said first goes on one carrier, on which nothing arrives, and the cut on the other.
    let stuck = world.now + Duration::from_millis(150);
    let carriers: Vec<_> = world.wires.keys().copied().collect();
    assert_eq!(world.end(CLIENT).write_slice(id, b"the last words"), Ok(14));
    let before: Vec<_> = world.wires.values().map(|wire| wire.lanes[CLIENT].passed).collect();
    world.act(&mut quiet);
    let said =
        carriers.iter().zip(&before).find(|(id, before)| world.wires[*id].lanes[CLIENT].passed > **before);
    let carrier = *said.unwrap().0;
    world.wires.get_mut(&carrier).unwrap().lanes[CLIENT].stuck_until = stuck;
    world.end(CLIENT).reset_after_data(id, ResetCode::TimedOut);
    world.pass(&mut quiet, Duration::from_millis(100));
    assert_eq!(world.end(AGENT).read(id, 100), Ok(Read::Pending), "nothing has arrived");
    assert_eq!(world.end(AGENT).cut(id), Some(ResetCode::TimedOut), "the cut has");
    world.cut(carrier, BREAKS[3]);
    let before = quiet.readable;
    world.pass(&mut quiet, Duration::from_secs(10));
    assert!(quiet.readable > before, "the reader is not told");
    assert!(
        matches!(world.end(AGENT).read(id, 100), Ok(Read::Chunk(bytes)) if bytes == b"the last words"[..])
    );
    assert_eq!(world.end(AGENT).read(id, 100), Err(StreamError::Cut(ResetCode::TimedOut)));
}
