//! One scripted exchange, again and again, with a carrier cut at every byte of each direction. Whatever is cut, what the
//! programs see is what they see when nothing is.

use std::time::Duration;

use kubetether_wire::{CloseReason, Goodbye, GoodbyeCode, LinkConfig, Role};

use crate::support::{
    cases,
    lane::{BREAKS, Break},
    script::{Script, everything, noise},
    world::{AGENT, CLIENT, Plan, World},
};

/// A run to compare with.
struct Case {
    carriers: usize,
    /// Bytes of each stream.
    size: usize,
    chunk: usize,
}

const SECOND: Duration = Duration::from_secs(1);

impl Case {
    fn world(&self) -> World {
        let config = |role| LinkConfig::new(role).stream_window(16 << 10, 32 << 10).link_window(64 << 10);
        let mut world = World::new(config(Role::Client), config(Role::Gateway), self.carriers);
        world.path.chunk = self.chunk;
        world
    }

    /// Runs the exchange; returns how many bytes went over each lane.
    fn run(&self, plan: &[Plan], breaking: Break) -> Result<Vec<Plan>, String> {
        let mut world = self.world();
        (world.plan, world.breaking) = (plan.to_vec(), breaking);
        let mut script = Script::new(everything(self.size));
        // So that streams are opened at any moment of the others' lives. Afterwards, events alone bring them to their end.
        while script.open_next(&mut world) || !script.all_open() {
            world.pass(&mut script, Duration::from_millis(3));
        }
        world.run_until_over(&mut script, 60 * SECOND);
        script.release(&mut world);
        script.check()?;
        // Acknowledgements of the last frames, and carriers of which only silence tells.
        world.pass(&mut script, 8 * SECOND);
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
        let mut lanes = Vec::new();
        for (carrier, wire) in &world.wires {
            for sender in [CLIENT, AGENT] {
                lanes.push(Plan { carrier: *carrier, sender, at: wire.lanes[sender].passed });
            }
        }
        let broken = world.wires.values().any(|wire| wire.broken);
        let whole = !broken && world.live_carriers() == [self.carriers; 2];
        let cuts = world.cuts;
        world.want = 0;
        world.end(CLIENT).close(GoodbyeCode::Closed, "done");
        world.pass(&mut script, 70 * SECOND);
        let goodbye = Goodbye::new(GoodbyeCode::Closed, "done");
        match world.close_reason(AGENT) {
            Some(CloseReason::Peer(told)) if *told == goodbye => {}
            // What was cut was the goodbye, or something so short before it that nothing can be said.
            None if !whole && world.links[AGENT].is_none() => {}
            Some(CloseReason::Lost) if !whole || world.cuts > cuts => {}
            other => return Err(format!("the agent's link ended with {other:?}")),
        }
        Ok(lanes)
    }

    /// Cuts any two carriers anywhere, those that take the place of others as well.
    fn cut_twice(&self, cases: u32) {
        let whole = self.run(&[], BREAKS[0]).unwrap();
        let most = whole.iter().map(|lane| lane.at).max().unwrap();
        let dice = noise(7, cases as usize * 8);
        for roll in dice.chunks_exact(8) {
            let carriers = self.carriers as u8 + 2;
            let plan = [0, 4].map(|half| Plan {
                carrier: u32::from(roll[half] % carriers) + 1,
                sender: usize::from(roll[half + 1] % 2),
                at: u64::from(u16::from_be_bytes([roll[half + 2], roll[half + 3]])) * most / 0xffff,
            });
            let how = BREAKS[usize::from(roll[0] >> 4) % BREAKS.len()];
            if let Err(error) = self.run(&plan, how) {
                panic!("{plan:?}, {how:?}: {error}");
            }
        }
    }

    /// Cuts each lane, `step` bytes apart.
    fn cut_everywhere(&self, step: u64) {
        let whole = self.run(&[], BREAKS[0]).unwrap();
        assert_eq!(whole.len(), self.carriers * 2);
        assert!(whole.iter().all(|lane| lane.at > 200), "a carrier has nothing to carry: {whole:?}");
        for lane in whole {
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

/// Without a limit, and as small as can be.
const WHOLE: usize = usize::MAX;

#[test]
fn one_carrier_cut_at_every_byte() {
    Case { carriers: 1, size: 200, chunk: WHOLE }.cut_everywhere(1);
}

#[test]
fn one_of_two_carriers_cut_at_every_byte() {
    Case { carriers: 2, size: 200, chunk: WHOLE }.cut_everywhere(1);
}

#[test]
fn one_of_three_carriers_cut_at_every_byte() {
    Case { carriers: 3, size: 200, chunk: WHOLE }.cut_everywhere(1);
}

#[test]
fn bytes_that_come_one_by_one() {
    Case { carriers: 2, size: 200, chunk: 1 }.cut_everywhere(13);
}

/// Streams longer than their windows: credits are among what is cut.
#[test]
fn long_streams_cut_anywhere() {
    let step = if cases(0) > 0 { 1 } else { 211 };
    Case { carriers: 2, size: 50_000, chunk: WHOLE }.cut_everywhere(step);
}

#[test]
fn two_cuts_anywhere() {
    for carriers in 1..=3 {
        Case { carriers, size: 300, chunk: 100 }.cut_twice(cases(700));
        Case { carriers, size: 40_000, chunk: 5000 }.cut_twice(cases(200));
    }
}
