//! A carrier is retired in the middle of everything: nothing is lost, nothing is said twice, whatever is cut meanwhile.

use std::{cell::RefCell, rc::Rc, time::Duration};

use kubetether_wire::{CarrierEnd, CarrierId, Event, Link, LinkConfig, Role};

use crate::support::{
    cases,
    lane::{BREAKS, Break},
    raw,
    script::{Script, everything},
    world::{AGENT, CLIENT, Plan, Programs, World},
};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// A script, and how carriers end.
struct Watched {
    script: Script,
    ends: Vec<(usize, CarrierId, CarrierEnd)>,
}

impl Programs for Watched {
    fn event(&mut self, end: usize, event: Event, link: &mut Link) {
        if let Event::CarrierEnded(id, how) = &event {
            self.ends.push((end, *id, how.clone()));
        }
        self.script.event(end, event, link);
    }

    fn is_over(&self) -> bool {
        self.script.is_over()
    }
}

/// A run in which carriers are retired while streams are opened: by which end, after so many streams.
struct Case {
    carriers: usize,
    size: usize,
    retires: &'static [(usize, usize)],
}

/// What a run has come to.
struct Outcome {
    lanes: Vec<Plan>,
    resent: u64,
    lost: u64,
    ends: Vec<(usize, CarrierId, CarrierEnd)>,
    /// The retired carriers, in turn.
    retired: Vec<CarrierId>,
}

impl Case {
    fn run(&self, plan: &[Plan], breaking: Break) -> Result<Outcome, String> {
        let config = |role| LinkConfig::new(role).stream_window(16 << 10, 32 << 10).link_window(64 << 10);
        let mut world = World::new(config(Role::Client), config(Role::Gateway), self.carriers);
        (world.plan, world.breaking) = (plan.to_vec(), breaking);
        let passed = Rc::new(RefCell::new(std::collections::BTreeMap::<_, u64>::new()));
        let counts = passed.clone();
        world.tap = Some(Box::new(move |end, id, bytes| {
            *counts.borrow_mut().entry((id, end)).or_default() += bytes.len() as u64;
            bytes.to_vec()
        }));
        let mut watched = Watched { script: Script::new(everything(self.size)), ends: Vec::new() };
        let (mut opened, mut retired) = (0, Vec::new());
        world.pass(&mut watched, 20 * MILLI);
        while watched.script.open_next(&mut world) || !watched.script.all_open() {
            world.pass(&mut watched, 2 * MILLI);
            opened += 1;
            for (end, after) in self.retires {
                let first = world.wires.keys().next().copied();
                if let Some(id) = first.filter(|_| *after == opened) {
                    // One that an end does not know yet it cannot retire.
                    retired.extend(world.retire(*end, id).then_some(id));
                }
            }
            world.pass(&mut watched, MILLI);
        }
        world.run_until_over(&mut watched, 60 * SECOND);
        watched.script.release(&mut world);
        watched.script.check()?;
        world.pass(&mut watched, 8 * SECOND);
        for end in [CLIENT, AGENT] {
            let (stats, flushed) = (world.stats(end), world.end(end).is_flushed());
            let left = (stats.streams, stats.buffered, stats.queued, stats.unacknowledged, flushed);
            if left != (0, 0, 0, 0, true) {
                return Err(format!("end {end} is left with {left:?}"));
            }
            if let Some(reason) = world.close_reason(end) {
                return Err(format!("end {end} is closed: {reason}"));
            }
        }
        let lane = |((carrier, sender), at): (&(CarrierId, usize), &u64)| Plan {
            carrier: *carrier,
            sender: *sender,
            at: *at,
        };
        let lanes = passed.borrow().iter().map(lane).collect();
        // One may have been cut a moment ago, and nobody be told.
        world.pass(&mut watched, 10 * SECOND);
        if world.live_carriers() != [self.carriers; 2] {
            return Err(format!("{:?} carriers are up", world.live_carriers()));
        }
        let knows = |id: &CarrierId| world.links.iter().flatten().any(|link| link.has_carrier(*id));
        if let Some(id) = retired.iter().find(|id| knows(id)) {
            return Err(format!("carrier {id} is still there"));
        }
        let stats = [CLIENT, AGENT].map(|end| world.stats(end));
        Ok(Outcome {
            lanes,
            resent: stats[0].resent + stats[1].resent,
            lost: stats[0].carriers_lost + stats[1].carriers_lost,
            ends: watched.ends,
            retired,
        })
    }

    fn whole(&self) -> Outcome {
        let whole = self.run(&[], BREAKS[0]).unwrap();
        assert_eq!(whole.retired.len(), self.retires.len());
        assert_eq!(
            (whole.resent, whole.lost),
            (0, 0),
            "something was said twice: {:?} of {:?}",
            whole.ends,
            whole.retired
        );
        for (_, _, how) in &whole.ends {
            assert_eq!(*how, CarrierEnd::Retired);
        }
        whole
    }

    /// Cuts each lane, also those of carriers that come later, `step` bytes apart.
    fn cut_everywhere(&self, step: u64) {
        for lane in self.whole().lanes {
            for at in (0..=lane.at).step_by(step as usize) {
                let plan = Plan { at, ..lane };
                let how = BREAKS[(at / step + u64::from(lane.carrier)) as usize % BREAKS.len()];
                if let Err(error) = self.run(&[plan], how) {
                    panic!("{plan:?}, {how:?}: {error}");
                }
            }
        }
    }
}

#[test]
fn retired_by_either_end_and_cut_at_every_byte() {
    for retires in [&[(CLIENT, 4)], &[(AGENT, 4)]] {
        Case { carriers: 2, size: 200, retires }.cut_everywhere(1);
    }
}

/// All of them, one after the other; at once; by both ends at once; the only one.
#[test]
fn many_are_retired() {
    let step = if cases(0) > 0 { 1 } else { 7 };
    Case { carriers: 3, size: 300, retires: &[(CLIENT, 2), (CLIENT, 3), (AGENT, 5), (CLIENT, 7)] }
        .cut_everywhere(step);
    Case { carriers: 2, size: 300, retires: &[(CLIENT, 4), (AGENT, 4)] }.cut_everywhere(step);
    Case { carriers: 1, size: 300, retires: &[(CLIENT, 4), (AGENT, 6)] }.cut_everywhere(step);
}

/// Streams longer than their windows are in full flow.
#[test]
fn in_the_middle_of_long_streams() {
    let step = if cases(0) > 0 { 7 } else { 1009 };
    for carriers in [2, 3] {
        Case { carriers, size: 50_000, retires: &[(CLIENT, 5), (AGENT, 8)] }.cut_everywhere(step);
    }
}

/// Nothing but what is for the carrier itself is said there once it retires.
#[test]
fn nothing_new_goes_on_it() {
    for end in [CLIENT, AGENT] {
        let mut world = World::plain(2);
        let mut script = Script::new(everything(100_000));
        let said = Rc::new(RefCell::new(Vec::new()));
        let log = said.clone();
        world.tap = Some(Box::new(move |by, id, bytes| {
            let frames = raw::frames(bytes);
            log.borrow_mut().extend(frames.into_iter().map(|(kind, body)| (by, id, kind, body.to_vec())));
            bytes.to_vec()
        }));
        while script.open_next(&mut world) || !script.all_open() {
            world.pass(&mut script, MILLI);
        }
        said.borrow_mut().clear();
        world.retire(end, 1);
        world.run_until_over(&mut script, 60 * SECOND);
        script.release(&mut world);
        script.check().unwrap();
        let said = said.borrow();
        for by in [CLIENT, AGENT] {
            let there: Vec<_> = said.iter().filter(|said| (said.0, said.1) == (by, 1)).collect();
            let retires = there.iter().position(|said| said.2 == raw::GOODBYE).unwrap();
            // The one that wants it says so before all that waits.
            assert!(by != end || there[..retires].iter().all(|said| !raw::COUNTED.contains(&said.2)));
            assert!(there[retires..].iter().all(|said| !raw::COUNTED.contains(&said.2)), "end {by}");
            let goodbyes = there.iter().filter(|said| said.2 == raw::GOODBYE).map(|said| &said.3[..]);
            let expected: &[&[u8]] =
                if by == end { &[&[0x40, 64], b"\x0cno longer needed"] } else { &[&[0x40, 64]] };
            assert!(goodbyes.eq(expected.iter().copied()), "end {by}");
        }
    }
}

/// A peer that knows nothing of retiring goes on using the carrier: it is given up without it, and nothing is lost.
#[test]
fn a_peer_that_does_not_know_of_it_is_not_waited_for() {
    for end in [CLIENT, AGENT] {
        let mut world = World::plain(2);
        let mut script = Script::new(everything(100_000));
        world.tap = Some(Box::new(|_, _, bytes| {
            let mut out = Vec::new();
            for (kind, body) in raw::frames(bytes) {
                let notice = kind == raw::GOODBYE && body == [0x40, 64];
                if !notice {
                    raw::put(&mut out, kind, body);
                }
            }
            out
        }));
        while script.open_next(&mut world) || !script.all_open() {
            world.pass(&mut script, MILLI);
        }
        world.retire(end, 1);
        world.pass(&mut script, 4 * SECOND);
        assert!(world.wires.contains_key(&1));
        world.run_until_over(&mut script, 60 * SECOND);
        script.release(&mut world);
        script.check().unwrap();
        world.pass(&mut script, 2 * SECOND);
        assert!(!world.wires.contains_key(&1));
        assert_eq!(world.live_carriers(), [2, 2]);
    }
}
