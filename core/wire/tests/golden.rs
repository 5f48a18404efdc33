//! The bytes of protocol version 1, as they must stay: clients and agents of different releases meet. Lines are added, never
//! changed; a line that fails means that this release cannot talk to the last one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::{fmt::Write, time::Duration};

use bytes::{Bytes, BytesMut};
use kubetether_wire::{
    Answer, CAPABILITY_PROOF, CallCode, Frame, FrameReader, Goodbye, GoodbyeCode, Hello, Open, Refusal,
    RefusalCode, Request, ResetCode, Role, Status,
};

fn client_hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        role: Role::Client,
        incarnation: [0x11; 16],
        link: [0x22; 16],
        secret: Some([0x33; 32].into()),
        proof: None,
        carrier: 2,
        resuming: Some([0x44; 16]),
        capabilities: 0,
        stream_credit: 131_072,
        link_credit: 16_777_216,
        max_streams: 16_384,
        heartbeat: Duration::from_millis(2000),
        software: "0.1.0".into(),
        who: "ann@box".into(),
    }
}

fn agent_hello() -> Hello {
    Hello {
        role: Role::Interceptor,
        secret: None,
        resuming: None,
        carrier: 1,
        who: String::new(),
        ..client_hello()
    }
}

fn frames() -> Vec<(Frame, &'static str)> {
    let bytes = Bytes::from_static(b"bytes");
    vec![
        (
            Frame::Hello(Box::new(client_hello())),
            "010000976b75626574657468657201010102010103010104101111111111111111111111111111111105102222222222\
         222222222222222222222206203333333333333333333333333333333333333333333333333333333333333333070102\
         0810444444444444444444444444444444440901000a04800200000b04810000000c04800040000d0247d00e05302e31\
         2e300f07616e6e40626f78",
        ),
        (
            Frame::Hello(Box::new(agent_hello())),
            "0100005a6b75626574657468657201010102010103010304101111111111111111111111111111111105102222222222\
         22222222222222222222220701010901000a04800200000b04810000000c04800040000d0247d00e05302e312e30",
        ),
        (
            Frame::Hello(Box::new(Hello { secret: None, proof: Some([0x55; 32].into()), ..client_hello() })),
            "010000976b75626574657468657201010102010103010104101111111111111111111111111111111105102222222222\
             22222222222222222222220701020810444444444444444444444444444444440901000a04800200000b04810000000c\
             04800040000d0247d00e05302e312e300f07616e6e40626f781020555555555555555555555555555555555555555555\
             5555555555555555555555",
        ),
        (
            Frame::Hello(Box::new(Hello {
                proof: Some([0x66; 32].into()),
                capabilities: CAPABILITY_PROOF,
                ..agent_hello()
            })),
            "0100007c6b75626574657468657201010102010103010304101111111111111111111111111111111105102222222222\
             22222222222222222222220701010901020a04800200000b04810000000c04800040000d0247d00e05302e312e301020\
             6666666666666666666666666666666666666666666666666666666666666666",
        ),
        (Frame::Ping(7), "0200000107"),
        (Frame::Pong(70_000), "0300000480011170"),
        (Frame::Goodbye(Goodbye::new(GoodbyeCode::Draining, "soon gone")), "0400000a03736f6f6e20676f6e65"),
        (Frame::Ack { carrier: 3, frames: 1000, last: false }, "050000030343e8"),
        (Frame::Ack { carrier: 3, frames: 1000, last: true }, "050000040343e801"),
        (Frame::Clock(1_000_000), "06000004800f4240"),
        (Frame::Open { stream: 2, fields: Open::Call.encode().unwrap().into() }, "1000000402010103"),
        (Frame::Opened(2), "1100000102"),
        (
            Frame::Refuse { stream: 2, refusal: Refusal::new(RefusalCode::Refused, "port 80") },
            "120000090201706f7274203830",
        ),
        (Frame::Data { stream: 2, offset: 1 << 20, bytes: bytes.clone() }, "1300000a02801000006279746573"),
        (Frame::Credit { stream: 2, limit: 1 << 20 }, "140000050280100000"),
        (Frame::Credit { stream: 0, limit: 1 << 24 }, "140000050081000000"),
        (Frame::Fin { stream: 2, end: 12 }, "15000002020c"),
        (Frame::Reset { stream: 2, code: ResetCode::Reset, end: 12, deliver: 10 }, "1600000402010c0a"),
        (Frame::Datagram { stream: 3, bytes }, "40000006036279746573"),
        (Frame::Datagram { stream: 1 << 20, bytes: Bytes::new() }, "4000000480100000"),
    ]
}

fn opens() -> Vec<(Open, &'static str)> {
    vec![
        (
            Open::Dial { host: "db.shop".into(), port: 5432, deadline: Duration::from_secs(10) },
            "010101020764622e73686f700302553804026710",
        ),
        (
            Open::Inbound {
                port: 80,
                from: "10.0.0.9:4711".parse().unwrap(),
                to: "10.0.0.7:47200".parse().unwrap(),
            },
            "0101020302405005060a000009126706060a000007b860",
        ),
        (
            Open::Inbound {
                port: 443,
                from: "[fd00::9]:4711".parse().unwrap(),
                to: "[fd00::7]:47200".parse().unwrap(),
            },
            "010102030241bb0512fd00000000000000000000000000000912670612fd000000000000000000000000000007b860",
        ),
        (Open::Call, "010103"),
        (
            Open::DialDatagrams { host: "kube-dns.kube-system".into(), port: 53, deadline: Duration::ZERO },
            "01010402146b7562652d646e732e6b7562652d73797374656d030135040100",
        ),
        (
            Open::InboundDatagrams {
                port: 53,
                from: "10.0.0.9:4711".parse().unwrap(),
                to: "[fd00::7]:47200".parse().unwrap(),
            },
            "01010503013505060a00000912670612fd000000000000000000000000000007b860",
        ),
    ]
}

fn requests() -> Vec<(Request, &'static str)> {
    let deadline = Duration::from_secs(3);
    vec![
        (Request::Status, "010101"),
        (
            Request::Arm { exposed: vec![80, 443], holder: "ann@box".into() },
            "01010202024050020241bb0307616e6e40626f78",
        ),
        (Request::Disarm, "010103"),
        (Request::Probe { port: 80, times: 3, deadline }, "0101040402405005010306024bb8"),
        (
            Request::Prove { port: 80, address: "10.96.0.7:80".parse().unwrap(), times: 3, deadline },
            "0101050402405005010306024bb807060a6000070050",
        ),
        (Request::Drain, "010106"),
    ]
}

fn answers() -> Vec<(Answer, &'static str)> {
    vec![
        (
            Answer::Status(Status {
                role: Role::Gateway,
                version: "0.1.0".into(),
                incarnation: [0x11; 16],
                uptime: Duration::from_millis(1234),
                clients: 1,
                flows: 17,
                rss_bytes: 5_000_000,
                armed: true,
                peak_bytes: 0,
                cpu_us: 0,
                most_flows: 0,
                refused_flows: 0,
            }),
            "0101010401020505302e312e30061011111111111111111111111111111111070244d20801010901110a04804c4b400b\
         0101",
        ),
        (
            Answer::Status(Status {
                role: Role::Interceptor,
                version: "0.1.0".into(),
                incarnation: [0x11; 16],
                uptime: Duration::from_millis(1234),
                clients: 1,
                flows: 17,
                rss_bytes: 5_000_000,
                armed: false,
                peak_bytes: 6_000_000,
                cpu_us: 1_234_567,
                most_flows: 16_384,
                refused_flows: 2,
            }),
            "0101010401030505302e312e30061011111111111111111111111111111111070244d20801010901110a04804c4b400b\
         01001104805b8d8012048012d687130480004000140102",
        ),
        (Answer::Arm { exposed: vec![80, 443] }, "01010210024050100241bb"),
        (Answer::Disarm { open_flows: 4 }, "010103090104"),
        (
            Answer::Probe { connected: 2, failed: 1, last_error: "refused".into() },
            "0101040c01020e0101030772656675736564",
        ),
        (
            Answer::Prove { here: 3, elsewhere: 1, failed: 2, last_error: "refused".into() },
            "0101050c01030d01010e0102030772656675736564",
        ),
        (Answer::Drain { accepted: false, other_clients: 2 }, "0101060f0100080102"),
        (Answer::failed(CallCode::Held, "held by ann@box"), "010100020104030f68656c6420627920616e6e40626f78"),
    ]
}

#[test]
fn frames_are_as_they_were() {
    for (frame, golden) in frames() {
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        assert_eq!(hex(&bytes), golden, "{frame:?}");
        let mut reader = FrameReader::default();
        reader.push(bytes.freeze());
        assert_eq!(reader.next_frame(), Ok(Some(frame)));
    }
}

#[test]
fn opens_are_as_they_were() {
    for (open, golden) in opens() {
        let bytes = open.encode().unwrap();
        assert_eq!(hex(&bytes), golden, "{open:?}");
        assert_eq!(Open::decode(&bytes), Ok(open));
    }
}

#[test]
fn requests_are_as_they_were() {
    for (request, golden) in requests() {
        let bytes = request.encode();
        assert_eq!(hex(&bytes), golden, "{request:?}");
        assert_eq!(Request::decode(&bytes), Ok(request));
    }
}

#[test]
fn answers_are_as_they_were() {
    for (answer, golden) in answers() {
        let bytes = answer.encode();
        assert_eq!(hex(&bytes), golden, "{answer:?}");
        assert_eq!(Answer::decode(&bytes), Ok(answer));
    }
}

#[test]
fn codes_are_as_they_were() {
    let table = |numbers: &[(u32, &str)]| {
        numbers.iter().map(|(number, name)| format!("{number} {name}")).collect::<Vec<_>>().join(", ")
    };
    let refusals: Vec<_> = RefusalCode::KNOWN.iter().map(|code| (code.number(), code.as_str())).collect();
    let resets: Vec<_> = ResetCode::KNOWN.iter().map(|code| (code.number(), code.as_str())).collect();
    let goodbyes: Vec<_> = GoodbyeCode::KNOWN.iter().map(|code| (code.number(), code.as_str())).collect();
    let calls: Vec<_> = CallCode::KNOWN.iter().map(|code| (code.number(), code.as_str())).collect();
    let roles: Vec<_> = Role::KNOWN.iter().map(|code| (code.number(), code.as_str())).collect();
    let expected = [
        "1 connection refused, 2 unreachable, 3 timed out, 4 name not found, 5 not allowed, 6 limit reached, 7 draining, \
         8 not supported, 9 internal error",
        "1 connection reset, 2 dropped, 3 link lost, 4 link closed, 5 agent restarted, 6 timed out, 7 internal error, \
         8 cancelled, 9 refused, 10 unreachable, 11 idle",
        "1 closed, 2 unknown link, 3 draining, 4 no common version, 5 wrong secret, 6 busy, 7 protocol error, \
         8 internal error, 9 link lost, 10 agent restarted, 11 wrong role, 12 carrier given up, \
         64 carrier retires",
        "1 not supported, 2 malformed, 3 not allowed, 4 held by another client, 5 not armed, 6 timed out, 7 busy, \
         8 internal error, 9 no such port",
        "1 client, 2 gateway, 3 interceptor, 4 twin",
    ];
    let tables = [refusals, resets, goodbyes, calls, roles];
    assert_eq!(tables.map(|numbers| table(&numbers)), expected);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
