//! Programs that exchange datagrams over two associations, one opened by each end: what each hears is known before.

use std::time::Duration;

use kubetether_wire::{Event, Link, Open, ResetCode, StreamError, StreamId};

use super::{
    transcript::Player,
    world::{AGENT, CLIENT, Programs},
};

/// What both ends heard, in order, and how it ended.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    heard: [Vec<(StreamId, Vec<u8>)>; 2],
    cut: [Vec<(StreamId, ResetCode)>; 2],
    opened: [bool; 2],
}

/// What the opener of an association says; each is answered with itself and a mark.
fn questions() -> [Vec<u8>; 4] {
    [b"one".to_vec(), Vec::new(), super::script::noise(5, 700), b"last".to_vec()]
}

fn answer(question: &[u8]) -> Vec<u8> {
    [question, b"!"].concat()
}

fn open_of(end: usize) -> Open {
    if end == CLIENT {
        Open::DialDatagrams { host: "dns.shop".into(), port: 53, deadline: Duration::ZERO }
    } else {
        let (from, to) = ("10.0.0.9:4711".parse().unwrap(), "[fd00::7]:47200".parse().unwrap());
        Open::InboundDatagrams { port: 53, from, to }
    }
}

impl Chat {
    /// What was not as it must be at one end.
    pub(crate) fn check_end(&self, end: usize) {
        let questions = questions();
        let of = |id: StreamId| {
            self.heard[end].iter().filter(move |(of, _)| *of == id).map(|(_, bytes)| &bytes[..])
        };
        let own = if end == CLIENT { 2 } else { 1 };
        assert!(
            of(3 - own).eq(questions.iter().map(|question| &question[..])),
            "end {end}: {:?}",
            self.heard[end]
        );
        let answers = questions.iter().map(|question| answer(question)).collect::<Vec<_>>();
        assert!(of(own).eq(answers.iter().map(|answer| &answer[..])), "end {end}: {:?}", self.heard[end]);
        assert_eq!(self.cut[end], [(3 - own, ResetCode::Idle)], "end {end}");
    }

    fn hear(&mut self, end: usize, id: StreamId, link: &mut Link) {
        let own = id.is_multiple_of(2) == (end == CLIENT);
        loop {
            match link.receive_datagram(id) {
                Ok(Some(bytes)) => {
                    if !own {
                        link.send_datagram(id, answer(&bytes).into()).unwrap();
                    }
                    self.heard[end].push((id, bytes.to_vec()));
                    let answers = self.heard[end].iter().filter(|(of, _)| *of == id).count();
                    if own && answers == questions().len() {
                        link.reset(id, ResetCode::Idle);
                        link.release(id);
                        return;
                    }
                }
                Ok(None) => return,
                Err(StreamError::Cut(code)) => {
                    // Its own cut it is told, too.
                    if !own {
                        self.cut[end].push((id, code));
                        link.release(id);
                    }
                    return;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

impl Player for Chat {
    fn open_all(&mut self, end: usize, link: &mut Link) {
        if !std::mem::replace(&mut self.opened[end], true) {
            let id = link.open(&open_of(end)).unwrap();
            for question in questions() {
                link.send_datagram(id, question.into()).unwrap();
            }
            assert_eq!(link.receive_datagram(id), Ok(None));
        }
    }
}

impl Programs for Chat {
    fn event(&mut self, end: usize, event: Event, link: &mut Link) {
        match event {
            Event::Incoming(id, open) => {
                assert_eq!(open, open_of(1 - end));
                link.accept(id);
                self.hear(end, id, link);
            }
            Event::Readable(id) | Event::Cut(id) => self.hear(end, id, link),
            Event::CarrierUp(_) if end == AGENT => self.open_all(end, link),
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        self.cut.iter().all(|cut| !cut.is_empty())
    }
}
