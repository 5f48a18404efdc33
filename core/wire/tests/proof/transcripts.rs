//! Whole sessions as earlier versions spoke them, each played against the newest code, as its agent and as its client. Files
//! are added for each version of the protocol, never changed: one that fails means that this release cannot talk to that.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use kubetether_wire::{GoodbyeCode, LinkConfig, Role};

use crate::support::{
    chat::Chat,
    lane::BREAKS,
    script::{Script, everything},
    transcript::{self, Line, Play, Player},
    world::{AGENT, CLIENT, World},
};

/// The sessions: how many bytes streams have, and whether carriers are lost under way. Both are as they were recorded.
const SESSIONS: [(&str, usize, bool); 4] =
    [("short", 120, false), ("long", 9000, false), ("resumed", 500, true), ("proven", 500, true)];

fn file(version: u16, name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts");
    PathBuf::from(format!("{folder}/v{version}/{name}.txt"))
}

/// Lets two ends of this version talk, and writes it down.
fn record(size: usize, cuts: bool) -> Vec<Line> {
    // So small that credits are among what is said.
    let config = |role| LinkConfig::new(role).stream_window(16 << 10, 16 << 10).link_window(64 << 10);
    let mut world = World::new(config(Role::Client), config(Role::Gateway), 2);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let tap = lines.clone();
    world.tap = Some(Box::new(move |end, carrier, bytes| {
        tap.lock().unwrap().push(Line::Said(end, carrier, bytes.to_vec()));
        bytes.to_vec()
    }));
    let mut script = Script::new(everything(size));
    while !script.all_open() {
        script.open_next(&mut world);
        world.pass(&mut script, Duration::from_millis(3));
        if cuts && world.live_carriers() == [2, 2] && world.cuts < 3 {
            let id = *world.wires.keys().next().unwrap();
            world.cut(id, BREAKS[0]);
            lines.lock().unwrap().push(Line::Lost(id));
        }
    }
    world.run_until_over(&mut script, Duration::from_secs(10));
    world.pass(&mut script, Duration::from_secs(3));
    script.check().unwrap();
    world.end(CLIENT).close(GoodbyeCode::Closed, "done");
    world.tap = None;
    Arc::into_inner(lines).unwrap().into_inner().unwrap()
}

/// Only when asked for: `KUBETETHER_PROOF_RECORD=1` writes the files of a new version of the protocol.
#[test]
fn recorded() {
    let version = kubetether_wire::VERSION_MAX;
    for (name, size, cuts) in SESSIONS {
        let file = file(version, name);
        if std::env::var("KUBETETHER_PROOF_RECORD").is_ok() && !file.exists() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, transcript::write(&record(size, cuts))).unwrap();
        }
        assert!(file.exists(), "version {version} of the protocol has no transcripts");
    }
}

/// The session with datagrams, which came with the capability for them; of version 1 as the others.
const DATAGRAMS: &str = "datagrams";

fn record_datagrams() -> Vec<Line> {
    let mut world = World::plain(1);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let tap = lines.clone();
    world.tap = Some(Box::new(move |end, carrier, bytes| {
        tap.lock().unwrap().push(Line::Said(end, carrier, bytes.to_vec()));
        bytes.to_vec()
    }));
    let mut chat = Chat::default();
    Player::open_all(&mut chat, CLIENT, world.end(CLIENT));
    assert!(world.run_until_over(&mut chat, Duration::from_secs(10)));
    world.pass(&mut chat, Duration::from_secs(3));
    [CLIENT, AGENT].into_iter().for_each(|end| chat.check_end(end));
    world.end(CLIENT).close(GoodbyeCode::Closed, "done");
    world.tap = None;
    Arc::into_inner(lines).unwrap().into_inner().unwrap()
}

#[test]
fn earlier_ends_exchange_datagrams() {
    let file = file(1, DATAGRAMS);
    if std::env::var("KUBETETHER_PROOF_RECORD").is_ok() && !file.exists() {
        fs::write(&file, transcript::write(&record_datagrams())).unwrap();
    }
    let lines = transcript::parse(&fs::read_to_string(file).unwrap());
    for end in [CLIENT, AGENT] {
        let mut chat = Chat::default();
        let (said, should) = Play::run(&lines, end, &mut chat);
        chat.check_end(end);
        assert_eq!(said.opens, should.opens);
        assert_eq!(said.datagrams, should.datagrams);
        for (stream, reset) in &should.resets {
            assert_eq!(said.resets[stream], *reset, "association {stream}");
        }
    }
}

fn play(end: usize) {
    for version in 1..=kubetether_wire::VERSION_MAX {
        for (name, size, _) in SESSIONS {
            let lines = transcript::parse(&fs::read_to_string(file(version, name)).unwrap());
            let mut script = Script::new(everything(size));
            let (said, should) = Play::run(&lines, end, &mut script);
            script.check_end(end).unwrap_or_else(|error| panic!("v{version} {name}: {error}"));
            // What is said may come in other pieces, but not be something else.
            assert_eq!(said.opens, should.opens, "v{version} {name}");
            assert_eq!(said.fins, should.fins, "v{version} {name}");
            for (stream, reset) in &should.resets {
                assert_eq!(said.resets[stream].0, reset.0, "v{version} {name}: code of stream {stream}");
            }
            for (stream, bytes) in &should.bytes {
                let same = said.bytes[stream].iter().zip(bytes).all(|(a, b)| a == b);
                assert!(same, "v{version} {name}: stream {stream}");
            }
            for (carrier, fields) in &should.hellos {
                for (tag, _) in fields {
                    let there = said.hellos[carrier].iter().any(|(known, _)| known == tag);
                    assert!(there, "v{version} {name}: the hello of carrier {carrier} has no field {tag}");
                }
            }
        }
    }
}

#[test]
fn earlier_agents_are_understood() {
    play(CLIENT);
}

#[test]
fn earlier_clients_are_understood() {
    play(AGENT);
}
