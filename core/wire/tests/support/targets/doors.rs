//! Bytes on carriers: as the first ones of an agent's door, and behind a hello.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kubetether_wire::{
    CAPABILITY_DATAGRAMS, Event, Frame, FrameReader, Goodbye, Hello, Link, LinkConfig, Open, ProtocolError,
    Read, Role,
};

/// Bounds so small that they are reached.
pub(super) fn config(role: Role) -> LinkConfig {
    LinkConfig::new(role)
        .stream_window(16 << 10, 32 << 10)
        .link_window(128 << 10)
        .unacknowledged(1 << 20)
        .queued(64 << 10)
        .send_buffer(16 << 10)
        .max_streams(16)
        .max_carriers(4)
}

/// What an honest end says.
pub(super) fn hello(role: Role, carrier: u32) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        role,
        incarnation: [if role == Role::Client { 3 } else { 9 }; 16],
        link: [1; 16],
        secret: (role == Role::Client).then(|| [2; 32].into()),
        proof: None,
        carrier,
        resuming: None,
        capabilities: CAPABILITY_DATAGRAMS,
        stream_credit: 20_000,
        link_credit: 200_000,
        max_streams: 16,
        heartbeat: Duration::from_secs(2),
        software: "0.1.0".into(),
        who: String::new(),
    }
}

pub(super) fn encoded(frame: &Frame) -> Bytes {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out.freeze()
}

/// A client's end with a carrier that is up, if the agent is honest so far.
pub(super) fn client(now: Instant, up: bool) -> Link {
    let mut link = Link::client(config(Role::Client), [1; 16], [2; 32], [3; 16]);
    let id = link.carrier_up(now).expect("the first carrier");
    link.poll_transmit(id, now, &mut BytesMut::new(), 0);
    if up {
        link.handle_input(id, encoded(&Frame::Hello(Box::new(hello(Role::Gateway, id)))), now);
        assert_eq!(link.live_carriers(), 1);
    }
    link
}

/// An agent's end with a carrier.
pub(super) fn agent(now: Instant) -> Link {
    let hello = hello(Role::Client, 1);
    let mut link = Link::agent(config(Role::Gateway), &hello, [9; 16]).expect("an honest client");
    link.carrier_join(&hello, FrameReader::default(), now).expect("the first carrier");
    link
}

/// The bytes of several carriers at an agent's door, one behind the other: two bytes of length, and so many bytes. Each is
/// taken as an agent takes it: the link it names is made, joined, or refused with a reason that can be said.
pub(crate) fn acceptor(data: &[u8]) {
    let now = Instant::now();
    let mut links: Vec<Link> = vec![agent(now)];
    let mut rest = data;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (bytes, behind) = behind.split_at(length);
        rest = behind;
        let mut reader = FrameReader::default();
        reader.push(Bytes::copy_from_slice(bytes));
        let goodbye = match reader.next_frame() {
            Ok(Some(Frame::Hello(hello))) => attach(&mut links, &hello, reader, now).err(),
            Err(ProtocolError::Hello(goodbye)) => Some(goodbye),
            Ok(_) | Err(_) => None,
        };
        if let Some(goodbye) = goodbye {
            assert!(!goodbye.text.is_empty(), "turned away without a reason");
            super::again(&Frame::Goodbye(goodbye));
        }
    }
    for link in &mut links {
        exercise(link, now, &[]);
    }
}

fn attach(links: &mut Vec<Link>, hello: &Hello, reader: FrameReader, now: Instant) -> Result<(), Goodbye> {
    let known = links.iter().position(|link| link.id() == hello.link);
    let index = match known {
        Some(index) => index,
        None if links.len() >= 8 => return Err(Goodbye::new(kubetether_wire::GoodbyeCode::Busy, "full")),
        None => {
            links.push(Link::agent(config(Role::Gateway), hello, [9; 16])?);
            links.len() - 1
        }
    };
    let link = &mut links[index];
    match link.carrier_join(hello, reader, now) {
        Ok(id) => {
            link.handle_input(id, Bytes::new(), now);
            Ok(())
        }
        Err(goodbye) => {
            if known.is_none() {
                links.pop();
            }
            Err(goodbye)
        }
    }
}

/// Raw bytes for a link: the first byte chooses which end it is, whether its carrier is up, and in what pieces they come.
pub(crate) fn link(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let now = Instant::now();
    let mut link = match choice & 3 {
        0 => client(now, false),
        1 => client(now, true),
        _ => agent(now),
    };
    if choice & 4 != 0 && link.live_carriers() > 0 {
        let id = link.open(&Open::Call).expect("a stream");
        assert_eq!(link.write_slice(id, &[7; 3000]), Ok(3000));
    }
    let size = [usize::MAX, 1, 7, 1000][usize::from(choice >> 3 & 3)];
    let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
    exercise(&mut link, now, &pieces);
}

/// Hands bytes to the first carrier, does with events what programs do, and lets some time pass.
fn exercise(link: &mut Link, now: Instant, pieces: &[&[u8]]) {
    let ends = [Vec::new(), pieces.to_vec()].concat();
    for piece in ends {
        link.handle_input(1, Bytes::copy_from_slice(piece), now);
        programs(link);
        check(link);
    }
    drain(link, now);
    let (mut now, end) = (now, now + Duration::from_secs(200));
    wait(link, &mut now, end);
    programs(link);
    check(link);
    assert!(
        link.close_reason().is_some() || link.peer().is_none(),
        "a link outlives its carriers and its grace"
    );
}

/// Lets time pass as a driver does, who sends what there is.
pub(super) fn wait(link: &mut Link, now: &mut Instant, end: Instant) {
    let (mut turns, from) = (0, *now);
    while let Some(at) = link.poll_timeout().filter(|at| *at <= end) {
        *now = at.max(*now);
        link.handle_timeout(*now);
        drain(link, *now);
        turns += 1;
        let most = 1000 + (*now - from).as_millis();
        assert!(turns < most, "it asks for the time again and again");
    }
    *now = end;
}

/// Takes all there is to send, as honest frames.
pub(super) fn drain(link: &mut Link, now: Instant) -> Vec<Frame> {
    (1..=4).flat_map(|id| drain_carrier(link, id, now)).collect()
}

/// Takes all there is to send on one carrier.
pub(super) fn drain_carrier(link: &mut Link, id: u32, now: Instant) -> Vec<Frame> {
    let (mut reader, mut frames) = (FrameReader::default(), Vec::new());
    for turn in 0.. {
        let mut out = BytesMut::new();
        if !link.poll_transmit(id, now, &mut out, 16 << 10) {
            break;
        }
        assert!(turn < 2000, "it never stops to send");
        reader.push(out.freeze());
        while let Some(frame) = reader.next_frame().expect("what it says can be read") {
            frames.push(frame);
        }
    }
    frames
}

/// Reads and answers what comes.
fn programs(link: &mut Link) {
    for _ in 0..10_000 {
        match link.poll_event() {
            Some(Event::Incoming(id, _)) => {
                link.accept(id);
                let _ = link.write_slice(id, b"hello");
                let _ = link.read(id, usize::MAX);
            }
            Some(Event::Readable(id)) => while let Ok(Read::Chunk(_)) = link.read(id, 1000) {},
            Some(Event::Cut(id)) => {
                let _ = link.read(id, 1);
                link.release(id);
            }
            Some(_) => {}
            None => return,
        }
    }
    panic!("it never stops to tell");
}

/// What it holds is within bounds, whatever the peer does.
pub(super) fn check(link: &Link) {
    let stats = link.stats();
    assert!(stats.buffered <= stats.credit && stats.credit <= 128 << 10, "{stats:?}");
    // Calls have 64 KiB beyond it, and one turn.
    assert!(stats.queued <= (64 << 10) + (80 << 10), "{stats:?}");
    assert!(stats.unacknowledged <= (1 << 20) + (32 << 10), "{stats:?}");
    assert!(stats.streams <= 16 * 3 + 64, "{stats:?}");
    assert!(stats.datagrams <= 4 << 20, "{stats:?}");
}
