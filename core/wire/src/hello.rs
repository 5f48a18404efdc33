//! HELLO: the first frame of every carrier, in both directions.

use std::{fmt, time::Duration};

use bytes::{BufMut, BytesMut};

use crate::{
    DecodeError, Goodbye, Proof, ProtocolError, Secret,
    code::{GoodbyeCode, Role},
    tlv::{Reader, Writer},
};

/// The oldest protocol version this code speaks.
pub const VERSION_MIN: u16 = 1;
/// The newest protocol version this code speaks.
pub const VERSION_MAX: u16 = 1;

/// Capability: the sender takes DATAGRAM frames.
pub const CAPABILITY_DATAGRAMS: u64 = 1;
/// Capability, of agents: the sender takes a proof in place of the secret, and answers it with one.
pub const CAPABILITY_PROOF: u64 = 2;

/// What an end tells first on each carrier.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version it speaks.
    pub version_min: u16,
    /// The newest version it speaks.
    pub version_max: u16,
    /// Its job.
    pub role: Role,
    /// The random name of its process.
    pub incarnation: [u8; 16],
    /// The link the carrier belongs to.
    pub link: [u8; 16],
    /// Proves that the client made the link; from the client only, on the carriers that make the link.
    pub secret: Option<Secret>,
    /// Proves that the sender knows the secret; on all other carriers, in both directions.
    pub proof: Option<Proof>,
    /// The number of the carrier, given by the client.
    pub carrier: u32,
    /// The agent's incarnation the client has spoken with on this link before.
    pub resuming: Option<[u8; 16]>,
    /// Bits of what the sender can take beyond the version.
    pub capabilities: u64,
    /// How many bytes the receiver of this may send on each new stream.
    pub stream_credit: u64,
    /// How many bytes of streams the receiver of this may send on the link, from its beginning.
    pub link_credit: u64,
    /// How many streams the receiver of this may have open at once.
    pub max_streams: u32,
    /// How often the sender pings.
    pub heartbeat: Duration,
    /// The sender's software version, for people.
    pub software: String,
    /// Who the sender is, for people.
    pub who: String,
}

const MAGIC: &[u8; 10] = b"kubetether";

const VERSION_MIN_TAG: u64 = 1;
const VERSION_MAX_TAG: u64 = 2;
const ROLE: u64 = 3;
const INCARNATION: u64 = 4;
const LINK: u64 = 5;
const SECRET: u64 = 6;
const CARRIER: u64 = 7;
const RESUMING: u64 = 8;
const CAPABILITIES: u64 = 9;
const STREAM_CREDIT: u64 = 10;
const LINK_CREDIT: u64 = 11;
const MAX_STREAMS: u64 = 12;
const HEARTBEAT_MS: u64 = 13;
const SOFTWARE: u64 = 14;
const WHO: u64 = 15;
const PROOF: u64 = 16;

impl Hello {
    /// Appends the body of the frame.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let mut fields = Writer::default();
        fields.number(VERSION_MIN_TAG, self.version_min.into());
        fields.number(VERSION_MAX_TAG, self.version_max.into());
        fields.number(ROLE, self.role.number().into());
        fields.bytes(INCARNATION, &self.incarnation).bytes(LINK, &self.link);
        if let Some(secret) = &self.secret {
            fields.bytes(SECRET, secret.bytes());
        }
        fields.number(CARRIER, self.carrier.into());
        if let Some(resuming) = &self.resuming {
            fields.bytes(RESUMING, resuming);
        }
        fields.number(CAPABILITIES, self.capabilities);
        fields.number(STREAM_CREDIT, self.stream_credit).number(LINK_CREDIT, self.link_credit);
        fields.number(MAX_STREAMS, self.max_streams.into());
        fields.number(HEARTBEAT_MS, u64::try_from(self.heartbeat.as_millis()).unwrap_or(u64::MAX));
        fields.text(SOFTWARE, &self.software).text(WHO, &self.who);
        if let Some(proof) = &self.proof {
            fields.bytes(PROOF, proof.bytes());
        }
        out.put_slice(MAGIC);
        out.put_slice(&fields.finish());
    }

    /// Reads the body of the frame. Magic and versions keep their place and meaning in every version; who sent them is told
    /// why the rest cannot be read.
    pub(crate) fn decode(input: &[u8]) -> Result<Self, ProtocolError> {
        let fields = input
            .strip_prefix(MAGIC)
            .ok_or(ProtocolError::Decode { frame: "HELLO", source: DecodeError::Invalid("the magic") })?;
        Self::decode_fields(fields).map_err(|error| {
            let code = match error {
                DecodeError::Critical(_) => GoodbyeCode::Version,
                DecodeError::Truncated
                | DecodeError::TooLong { .. }
                | DecodeError::Missing(_)
                | DecodeError::Invalid(_) => GoodbyeCode::Protocol,
            };
            let text = format!("the hello cannot be read by {}: {error}", env!("CARGO_PKG_VERSION"));
            ProtocolError::Hello(other_version(fields).unwrap_or_else(|| Goodbye::new(code, text)))
        })
    }

    fn decode_fields(input: &[u8]) -> Result<Self, DecodeError> {
        let (mut version_min, mut version_max, mut role) = (None, None, None);
        let (mut incarnation, mut link, mut carrier, mut resuming) = (None, None, None, None);
        let (mut secret, mut proof) = (None, None);
        let (mut capabilities, mut stream_credit, mut link_credit) = (0, 0, 0);
        let (mut max_streams, mut heartbeat) = (u32::MAX, Duration::from_secs(2));
        let (mut software, mut who) = (String::new(), String::new());
        for field in Reader::new(input) {
            let field = field?;
            match field.tag {
                VERSION_MIN_TAG => version_min = Some(field.number("the oldest version")?),
                VERSION_MAX_TAG => version_max = Some(field.number("the newest version")?),
                ROLE => role = Some(Role::from_number(field.number("the role")?)),
                INCARNATION => incarnation = Some(field.array("the incarnation")?),
                LINK => link = Some(field.array("the link's id")?),
                SECRET => secret = Some(Secret::from(field.array::<32>("the secret")?)),
                CARRIER => carrier = Some(field.number("the carrier's number")?),
                RESUMING => resuming = Some(field.array("the incarnation to resume with")?),
                CAPABILITIES => capabilities = field.number("the capabilities")?,
                STREAM_CREDIT => stream_credit = field.number("the stream's credit")?,
                LINK_CREDIT => link_credit = field.number("the link's credit")?,
                MAX_STREAMS => max_streams = field.number("the number of streams")?,
                HEARTBEAT_MS => {
                    heartbeat = Duration::from_millis(field.number::<u32>("the heartbeat")?.into())
                }
                SOFTWARE => software = field.text(),
                WHO => who = field.text(),
                PROOF => proof = Some(Proof::from(field.array::<32>("the proof")?)),
                _ => field.unknown()?,
            }
        }
        Ok(Self {
            version_min: version_min.ok_or(DecodeError::Missing("the oldest version"))?,
            version_max: version_max.ok_or(DecodeError::Missing("the newest version"))?,
            role: role.ok_or(DecodeError::Missing("the role"))?,
            incarnation: incarnation.ok_or(DecodeError::Missing("the incarnation"))?,
            link: link.ok_or(DecodeError::Missing("the link's id"))?,
            secret,
            proof,
            carrier: carrier.ok_or(DecodeError::Missing("the carrier's number"))?,
            resuming,
            capabilities,
            stream_credit,
            link_credit,
            max_streams,
            heartbeat,
            software,
            who,
        })
    }

    /// The version to speak: the newest that both know.
    pub(crate) fn common_version(&self) -> Result<u16, Goodbye> {
        common_version(self.version_min, self.version_max, &self.software)
    }
}

fn common_version(min: u16, max: u16, software: &str) -> Result<u16, Goodbye> {
    let version = max.min(VERSION_MAX);
    if version >= min.max(VERSION_MIN) {
        return Ok(version);
    }
    let old = if min > VERSION_MAX { "this end" } else { "the other" };
    Err(Goodbye::new(
        GoodbyeCode::Version,
        format!(
            "this end ({}) speaks versions {VERSION_MIN} to {VERSION_MAX} of the protocol, the other ({software}) {min} to \
             {max}: {old} is too old, use the same release on both ends",
            env!("CARGO_PKG_VERSION"),
        ),
    ))
}

/// What to tell the sender of fields that cannot be read whole, if it is because there is no common version.
fn other_version(fields: &[u8]) -> Option<Goodbye> {
    let (mut min, mut max, mut software) = (None, None, String::new());
    for field in Reader::new(fields).map_while(Result::ok) {
        match field.tag {
            VERSION_MIN_TAG => min = field.number("the oldest version").ok(),
            VERSION_MAX_TAG => max = field.number("the newest version").ok(),
            SOFTWARE => software = field.text(),
            _ => {}
        }
    }
    common_version(min?, max?, &software).err()
}

/// Without what only programs need.
impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("versions", &(self.version_min..=self.version_max))
            .field("role", &self.role)
            .field("carrier", &self.carrier)
            .field("resuming", &self.resuming.is_some())
            .field("capabilities", &self.capabilities)
            .field("software", &self.software)
            .field("who", &self.who)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            version_min: 1,
            version_max: 3,
            role: Role::Client,
            incarnation: [1; 16],
            link: [2; 16],
            secret: Some([3; 32].into()),
            proof: Some([5; 32].into()),
            carrier: 7,
            resuming: Some([4; 16]),
            capabilities: 0,
            stream_credit: 131_072,
            link_credit: 1 << 24,
            max_streams: 16_384,
            heartbeat: Duration::from_secs(2),
            software: "0.1.0".into(),
            who: "ann@box".into(),
        }
    }

    #[test]
    fn a_hello_comes_back_and_hides_its_secret() {
        let mut out = BytesMut::new();
        hello().encode(&mut out);
        assert_eq!(Hello::decode(&out), Ok(hello()));
        assert!(!format!("{:?}", hello()).contains("3, 3"));
        assert_eq!(format!("{:?}", (hello().secret, hello().proof)), "(Some(Secret), Some(Proof))");
        let no_magic = Hello::decode(b"GET / HTTP/1.1\r\n");
        assert!(matches!(no_magic, Err(ProtocolError::Decode { .. })), "{no_magic:?}");
    }

    #[test]
    fn who_says_a_hello_that_cannot_be_read_is_told_why() {
        let refused = |fields: &[u8]| match Hello::decode(&[&MAGIC[..], fields].concat()) {
            Err(ProtocolError::Hello(goodbye)) => (goodbye.code, goodbye.text),
            other => panic!("{other:?}"),
        };
        let (code, text) = refused(&[]);
        assert_eq!(code, GoodbyeCode::Protocol);
        assert!(text.contains("the oldest version is missing"), "{text}");
        // A later version in which another field has another form.
        let later = Writer::default()
            .number(VERSION_MIN_TAG, 2)
            .number(VERSION_MAX_TAG, 3)
            .bytes(LINK, b"x")
            .finish();
        let (code, text) = refused(&later);
        assert_eq!(code, GoodbyeCode::Version);
        assert!(text.contains("2 to 3: this end is too old"), "{text}");
        // Also where the fields behind cannot even be told apart.
        assert_eq!(refused(&[&later[..], &[3, 9]].concat()).0, GoodbyeCode::Version);
        let mut critical = BytesMut::new();
        hello().encode(&mut critical);
        critical.extend_from_slice(&Writer::default().number(33, 1).finish());
        assert_eq!(refused(&critical[MAGIC.len()..]).0, GoodbyeCode::Version);
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        assert_eq!(hello().common_version(), Ok(1));
        let later = Hello { version_min: 2, ..hello() };
        assert_eq!(later.common_version().map_err(|goodbye| goodbye.code), Err(GoodbyeCode::Version));
    }
}
