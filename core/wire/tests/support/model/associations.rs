//! What is known of associations: what was sent comes whole, at most once, and to the other end of the same one.

use std::collections::{BTreeMap, BTreeSet};

use kubetether_wire::{Link, Open, OpenFailure, Refusal, RefusalCode, ResetCode, StreamError, StreamId};

use crate::support::world::{AGENT, CLIENT};

/// All associations that were ever opened.
#[derive(Debug, Default)]
pub(crate) struct Associations(BTreeMap<StreamId, Association>);

#[derive(Debug, Default)]
struct Association {
    ends: [End; 2],
    /// Its link was lost.
    lost: bool,
}

#[derive(Debug, Default)]
struct End {
    /// The program knows it, and has not released it.
    here: bool,
    /// Said no to it, or cut it.
    ended: bool,
    /// It has been told that it is over.
    told: bool,
    sent: u64,
    received: BTreeSet<u64>,
}

/// The code of a cut by a program.
const CUT: ResetCode = ResetCode::Idle;

/// A datagram: whose it is, which, and bytes that follow from both.
fn datagram(id: StreamId, end: usize, number: u64, length: usize) -> Vec<u8> {
    let mut bytes = [&id.to_be_bytes()[..], &[end as u8], &number.to_be_bytes()].concat();
    let seed = id ^ number.wrapping_mul(31) ^ length as u64;
    bytes.extend((0..length as u64).map(|at| (seed ^ at) as u8));
    bytes
}

pub(super) fn open() -> Open {
    Open::DialDatagrams { host: "dns".into(), port: 53, deadline: std::time::Duration::ZERO }
}

impl Associations {
    pub(super) fn is_one(&self, id: StreamId) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn open(&mut self, end: usize, link: &mut Link) {
        match link.open(&open()) {
            Ok(id) => {
                self.0.entry(id).or_default().ends[end].here = true;
                assert_eq!(link.receive_datagram(id), Ok(None));
            }
            Err(OpenFailure::Closed(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// One was offered: some are refused.
    pub(super) fn offered(&mut self, end: usize, id: StreamId, link: &mut Link) {
        let known = self.0.get_mut(&id).expect("only what was opened comes");
        assert!(!known.ends[end].here, "association {id} is offered twice");
        if id % 8 < 2 {
            known.ends[end].ended = true;
            link.refuse(id, Refusal::new(RefusalCode::NotAllowed, ""));
        } else {
            known.ends[end].here = true;
            link.accept(id);
            self.receive(end, id, link);
        }
    }

    /// One of those that an end has.
    pub(super) fn pick(&self, end: usize, pick: u8) -> Option<StreamId> {
        let ids: Vec<_> =
            self.0.iter().filter(|(_, known)| known.ends[end].here).map(|(id, _)| *id).collect();
        super::choose(&ids, pick)
    }

    pub(super) fn send(&mut self, end: usize, id: StreamId, length: usize, link: &mut Link) {
        let known = self.0.get_mut(&id).expect("it was picked");
        let bytes = datagram(id, end, known.ends[end].sent, length);
        match link.send_datagram(id, bytes.into()) {
            Ok(()) => known.ends[end].sent += 1,
            Err(StreamError::Finished) => assert!(known.ends[end].ended, "association {id} ended by nobody"),
            Err(StreamError::Cut(_) | StreamError::Refused(_)) => known.check_over(end, id),
        }
    }

    pub(super) fn cut(&mut self, end: usize, id: StreamId, link: &mut Link) {
        let known = self.0.get_mut(&id).expect("it was picked");
        known.ends[end].ended = true;
        link.reset(id, CUT);
    }

    pub(super) fn release(&mut self, end: usize, id: StreamId, link: &mut Link) {
        let known = self.0.get_mut(&id).expect("it was picked");
        (known.ends[end].ended, known.ends[end].here) = (true, false);
        link.release(id);
    }

    /// Takes what is there.
    pub(super) fn receive(&mut self, end: usize, id: StreamId, link: &mut Link) {
        let known = self.0.get_mut(&id).expect("only what was opened is readable");
        if !known.ends[end].here {
            return;
        }
        loop {
            match link.receive_datagram(id) {
                Ok(Some(bytes)) => {
                    let (head, rest) = bytes.split_at(17);
                    let number = u64::from_be_bytes(head[9..].try_into().unwrap());
                    assert!(
                        bytes == datagram(id, 1 - end, number, rest.len()),
                        "association {id}: not what was sent"
                    );
                    assert!(number < known.ends[1 - end].sent, "association {id}: {number} was never sent");
                    assert!(known.ends[end].received.insert(number), "association {id}: {number} came twice");
                }
                Ok(None) => return,
                Err(_) => {
                    known.check_over(end, id);
                    known.ends[end].told = true;
                    return;
                }
            }
        }
    }

    /// Both ends say something on all that are open; whether each has heard it.
    pub(super) fn alive(&mut self, links: &mut [Option<Link>; 2]) -> bool {
        let mut alive = true;
        let ids: Vec<_> = self.0.iter().filter(|(_, known)| known.is_open()).map(|(id, _)| *id).collect();
        for id in ids {
            for end in [CLIENT, AGENT] {
                let known = &self.0[&id];
                let heard =
                    known.ends[1 - end].received.last().is_some_and(|last| *last + 1 >= known.ends[end].sent);
                alive &= heard && known.ends[end].sent > 0;
                if let Some(link) = &mut links[end] {
                    self.send(end, id, 20, link);
                }
            }
        }
        alive
    }

    /// One that was offered when everything is over.
    pub(super) fn give_up(&mut self, end: usize, id: StreamId, link: &mut Link) {
        if self.0[&id].ends[end].here {
            self.release(end, id, link);
        }
    }

    /// All that is still there is given up.
    pub(super) fn release_all(&mut self, links: &mut [Option<Link>; 2]) {
        let ids: Vec<_> = self.0.keys().copied().collect();
        for id in ids {
            for end in [CLIENT, AGENT] {
                if let Some(link) = links[end].as_mut().filter(|_| self.0[&id].ends[end].here) {
                    self.release(end, id, link);
                }
            }
        }
    }

    /// An end's link is closed: everyone who looks is told.
    pub(super) fn closed(&mut self, end: usize, link: &mut Link) {
        let ids: Vec<_> = self.0.keys().copied().collect();
        for id in ids {
            if let Some(known) = self.0.get_mut(&id) {
                known.lost = true;
            }
            if self.0[&id].ends[end].here {
                self.receive(end, id, link);
                assert!(self.0[&id].ends[end].told, "association {id} has no end at {end} on a closed link");
                self.release(end, id, link);
            }
        }
    }
}

impl Association {
    fn is_open(&self) -> bool {
        self.ends.iter().all(|end| end.here && !end.ended)
    }

    fn check_over(&self, end: usize, id: StreamId) {
        assert!(
            self.lost || self.ends.iter().any(|end| end.ended),
            "association {id} is over at {end}, by nobody"
        );
    }
}
