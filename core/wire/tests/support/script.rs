//! Programs that do what a script says: streams with a fixed course, so that what comes out is known before.

use std::collections::BTreeMap;

use kubetether_wire::{
    Answer, Event, Link, Open, Read, Refusal, RefusalCode, Request, ResetCode, StreamError, StreamId,
};

use super::world::{AGENT, CLIENT, Programs, World};

/// One stream of a script.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    /// The end that opens it.
    pub(crate) opener: usize,
    /// What for; the acceptor finds the course by it.
    pub(crate) open: Open,
    /// What each end does.
    pub(crate) parts: [Part; 2],
    /// What each end sees, whatever happens to carriers.
    pub(crate) seen: [Seen; 2],
}

/// What one end does with a stream.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// What it writes.
    pub(crate) write: Vec<u8>,
    /// Not before it has read so much; `usize::MAX`: not before the end.
    pub(crate) after: usize,
    /// What it does when all is written.
    pub(crate) then: Then,
    /// Whether it reads.
    pub(crate) reads: bool,
}

/// What follows the bytes of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Finish,
    Reset,
    ResetAfterData,
    Refuse,
    /// Waits for what the other end does.
    Wait,
}

/// What one end sees of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) read: Bytes,
    pub(crate) last: Last,
}

/// Bytes that were read.
#[derive(Debug, Clone, Eq)]
pub(crate) enum Bytes {
    Exactly(Vec<u8>),
    /// These, or fewer of them.
    UpTo(Vec<u8>),
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Last {
    /// It was not read to an end.
    Nothing,
    End,
    Cut(ResetCode),
    Refused(Refusal),
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exactly(a), Self::Exactly(b)) => a == b,
            (Self::UpTo(all), Self::Exactly(some)) | (Self::Exactly(some), Self::UpTo(all)) => {
                all.starts_with(some)
            }
            (Self::UpTo(a), Self::UpTo(b)) => a == b,
        }
    }
}

/// How a part goes.
#[derive(Debug)]
struct Going {
    course: usize,
    written: usize,
    done: bool,
    read: Vec<u8>,
    last: Last,
    released: bool,
}

/// The programs at both ends.
#[derive(Debug)]
pub(crate) struct Script {
    courses: Vec<Course>,
    going: [BTreeMap<StreamId, Going>; 2],
    /// Streams of each end that are over, by their course.
    over: [BTreeMap<usize, Seen>; 2],
    /// Streams that nobody reads, released at the end.
    held: Vec<(usize, StreamId)>,
    opened: usize,
}

impl Script {
    pub(crate) fn new(courses: Vec<Course>) -> Self {
        Self { courses, going: Default::default(), over: Default::default(), held: Vec::new(), opened: 0 }
    }

    /// Opens the next stream; `false` when there is none, or its opener is not there yet.
    pub(crate) fn open_next(&mut self, world: &mut World) -> bool {
        let Some(course) = self.courses.get(self.opened) else { return false };
        let opener = course.opener;
        let Some(link) = &mut world.links[opener] else { return false };
        self.open(self.opened, opener, link);
        self.opened += 1;
        true
    }

    /// Opens all streams of one end: the other one is not of this program.
    pub(crate) fn open_all(&mut self, end: usize, link: &mut Link) {
        for index in 0..self.courses.len() {
            if self.courses[index].opener == end {
                self.open(index, end, link);
            }
        }
        self.opened = self.courses.len();
    }

    fn open(&mut self, index: usize, opener: usize, link: &mut Link) {
        let id = link.open(&self.courses[index].open).unwrap();
        self.begin(opener, id, index);
        self.go(opener, id, link);
    }

    /// Whether every stream was opened.
    pub(crate) fn all_open(&self) -> bool {
        self.opened == self.courses.len()
    }

    /// Whether one end of every stream is over.
    pub(crate) fn end_is_over(&self, end: usize) -> bool {
        self.over[end].len() == self.courses.len()
    }

    /// Releases what nobody reads.
    pub(crate) fn release(&mut self, world: &mut World) {
        for (end, id) in self.held.drain(..) {
            if let Some(link) = &mut world.links[end] {
                link.release(id);
            }
        }
    }

    /// What was not as it must be.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_end(CLIENT).and_then(|()| self.check_end(AGENT))
    }

    /// What was not as it must be at one end.
    pub(crate) fn check_end(&self, end: usize) -> Result<(), String> {
        for (index, course) in self.courses.iter().enumerate() {
            let Some(seen) = self.over[end].get(&index) else {
                return Err(format!("{:?} is not over at end {end}: {:?}", course.open, self.going[end]));
            };
            if *seen != course.seen[end] {
                let expected = &course.seen[end];
                return Err(format!("{:?} at end {end}: {seen:?} instead of {expected:?}", course.open));
            }
        }
        Ok(())
    }

    fn begin(&mut self, end: usize, id: StreamId, course: usize) {
        let going =
            Going { course, written: 0, done: false, read: Vec::new(), last: Last::Nothing, released: false };
        self.going[end].insert(id, going);
    }

    /// Does what can be done on one end of a stream.
    fn go(&mut self, end: usize, id: StreamId, link: &mut Link) {
        let Some(going) = self.going[end].get_mut(&id) else { return };
        let part = &self.courses[going.course].parts[end];
        while part.reads && going.last == Last::Nothing {
            match link.read(id, usize::MAX) {
                Ok(Read::Chunk(bytes)) => going.read.extend_from_slice(&bytes),
                Ok(Read::Pending) => break,
                Ok(Read::End) => going.last = Last::End,
                Err(StreamError::Cut(code)) => going.last = Last::Cut(code),
                Err(StreamError::Refused(refusal)) => going.last = Last::Refused(refusal),
                Err(StreamError::Finished) => panic!("a read says finished"),
            }
        }
        let may = going.read.len() >= part.after || going.last != Last::Nothing;
        while may && going.written < part.write.len() {
            match link.write_slice(id, &part.write[going.written..]) {
                Ok(0) => break,
                Ok(written) => going.written += written,
                // What follows does not matter any more.
                Err(_) => {
                    going.done = true;
                    break;
                }
            }
        }
        if may && !going.done && going.written == part.write.len() {
            going.done = true;
            match part.then {
                Then::Finish => link.finish(id),
                Then::Reset => link.reset(id, ResetCode::Reset),
                Then::ResetAfterData => link.reset_after_data(id, ResetCode::TimedOut),
                Then::Refuse => link.refuse(id, refusal()),
                Then::Wait => {}
            }
            if part.then == Then::Refuse {
                going.released = true;
            } else if !part.reads {
                // Released now, it would be cut.
                going.released = true;
                self.held.push((end, id));
            }
        }
        if part.reads && going.last != Last::Nothing && going.done && !going.released {
            going.released = true;
            link.release(id);
        }
        // One that was cut by its own end, or waits for nothing but the cut of the other.
        let cut = going.last != Last::Nothing && part.then == Then::Wait && !going.released;
        if cut {
            link.release(id);
        }
        if cut || going.released {
            let Some(over) = self.going[end].remove(&id) else { return };
            self.over[end].insert(over.course, Seen { read: Bytes::Exactly(over.read), last: over.last });
        }
    }
}

impl Programs for Script {
    fn event(&mut self, end: usize, event: Event, link: &mut Link) {
        match event {
            Event::Incoming(id, open) => {
                let index =
                    self.courses.iter().position(|course| course.open == open && course.opener != end);
                let course = index.expect("only what is in the script comes");
                let part = &self.courses[course].parts[end];
                if part.then != Then::Refuse {
                    link.accept(id);
                }
                if !part.reads {
                    link.stop(id);
                }
                self.begin(end, id, course);
                self.go(end, id, link);
            }
            Event::Readable(id) | Event::Writable(id) | Event::Cut(id) => self.go(end, id, link),
            Event::Answered(id) => {
                assert!(link.opened(id).is_some(), "an answer that is none");
                self.go(end, id, link);
            }
            _ => {}
        }
    }

    /// Whether every end of every stream is over.
    fn is_over(&self) -> bool {
        self.end_is_over(CLIENT) && self.end_is_over(AGENT)
    }
}

/// What a course is refused with.
pub(crate) fn refusal() -> Refusal {
    Refusal::new(RefusalCode::Refused, "10.0.0.7:81: connection refused")
}

/// Bytes that do not repeat soon.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed + 1);
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// Everything that streams can do, each with `size` bytes or so.
pub(crate) fn everything(size: usize) -> Vec<Course> {
    let dial = |port| Open::Dial { host: "db.shop".into(), port, deadline: std::time::Duration::ZERO };
    let inbound = |port| Open::Inbound {
        port,
        from: "10.0.0.9:4711".parse().unwrap(),
        to: "[fd00::7]:47200".parse().unwrap(),
    };
    let part = |write: Vec<u8>, after, then| Part { write, after, then, reads: true };
    let seen = |read: &[u8], last| Seen { read: Bytes::Exactly(read.to_vec()), last };
    let (a, b) = (noise(1, size), noise(2, size / 2 + 3));
    let status = Answer::Disarm { open_flows: 7 }.encode();
    let request = Request::Disarm.encode();
    let end = usize::MAX;
    vec![
        // A request to its end, then the answer.
        Course {
            opener: CLIENT,
            open: dial(1),
            parts: [part(a.clone(), 0, Then::Finish), part(b.clone(), end, Then::Finish)],
            seen: [seen(&b, Last::End), seen(&a, Last::End)],
        },
        // The server speaks first; nobody ends before the other has spoken.
        Course {
            opener: CLIENT,
            open: dial(2),
            parts: [part(a.clone(), b.len(), Then::Finish), part(b.clone(), 0, Then::Finish)],
            seen: [seen(&b, Last::End), seen(&a, Last::End)],
        },
        // Refused, though bytes came with the question.
        Course {
            opener: CLIENT,
            open: dial(3),
            parts: [
                part(b.clone(), 0, Then::Finish),
                Part { reads: false, ..part(Vec::new(), 0, Then::Refuse) },
            ],
            seen: [seen(&[], Last::Refused(refusal())), seen(&[], Last::Nothing)],
        },
        // Cut behind the last byte.
        Course {
            opener: CLIENT,
            open: dial(4),
            parts: [part(Vec::new(), end, Then::Wait), part(a.clone(), 0, Then::ResetAfterData)],
            seen: [seen(&a, Last::Cut(ResetCode::TimedOut)), seen(&[], Last::Cut(ResetCode::TimedOut))],
        },
        // Cut by the one who asked, once it has read everything.
        Course {
            opener: CLIENT,
            open: dial(5),
            parts: [part(b.clone(), a.len(), Then::Reset), part(a.clone(), 0, Then::Wait)],
            seen: [
                Seen { read: Bytes::Exactly(a.clone()), last: Last::Cut(ResetCode::Reset) },
                Seen { read: Bytes::UpTo(b.clone()), last: Last::Cut(ResetCode::Reset) },
            ],
        },
        // The agent does not read; the client does not notice.
        Course {
            opener: CLIENT,
            open: dial(6),
            parts: [
                part(a.clone(), 0, Then::Finish),
                Part { reads: false, ..part(b.clone(), 0, Then::Finish) },
            ],
            seen: [seen(&b, Last::End), seen(&[], Last::Nothing)],
        },
        // A connection that came for the Service, both ways at once.
        Course {
            opener: AGENT,
            open: inbound(80),
            parts: [part(b.clone(), 0, Then::Finish), part(a.clone(), 0, Then::Finish)],
            seen: [seen(&a, Last::End), seen(&b, Last::End)],
        },
        // One that is cut by the program here.
        Course {
            opener: AGENT,
            open: inbound(81),
            parts: [part(a.clone(), b.len(), Then::ResetAfterData), part(b.clone(), 0, Then::Wait)],
            seen: [seen(&b, Last::Cut(ResetCode::TimedOut)), seen(&a, Last::Cut(ResetCode::TimedOut))],
        },
        // A call.
        Course {
            opener: CLIENT,
            open: Open::Call,
            parts: [part(request.clone(), 0, Then::Finish), part(status.clone(), end, Then::Finish)],
            seen: [seen(&status, Last::End), seen(&request, Last::End)],
        },
    ]
}
