//! Fields: tag, length, value. Tags and lengths are varints, numbers are varints in a value. An unknown tag is skipped;
//! of a field said twice the last one counts, unless it is a list. An unknown tag that is critical (odd, from 33 on) is an
//! error: what it says changes the meaning of the rest.

use std::net::{IpAddr, SocketAddr};

use crate::{DecodeError, varint};

/// The longest text for people, in bytes; longer ones are cut when written.
pub(crate) const MAX_TEXT: usize = 1024;

/// Writes fields, one after another.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn number(&mut self, tag: u64, value: u64) -> &mut Self {
        varint::put(&mut self.0, tag);
        varint::put(&mut self.0, varint::len(value) as u64);
        varint::put(&mut self.0, value);
        self
    }

    pub(crate) fn bytes(&mut self, tag: u64, value: &[u8]) -> &mut Self {
        varint::put(&mut self.0, tag);
        varint::put(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A text for people, cut to [`MAX_TEXT`]; an empty one is left out.
    pub(crate) fn text(&mut self, tag: u64, value: &str) -> &mut Self {
        let value = cut(value, MAX_TEXT);
        if value.is_empty() { self } else { self.bytes(tag, value.as_bytes()) }
    }

    pub(crate) fn address(&mut self, tag: u64, value: SocketAddr) -> &mut Self {
        let port = value.port().to_be_bytes();
        match value.ip() {
            IpAddr::V4(ip) => self.bytes(tag, &[&ip.octets()[..], &port].concat()),
            IpAddr::V6(ip) => self.bytes(tag, &[&ip.octets()[..], &port].concat()),
        }
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// The first tag that can be critical; below are those of the first version.
const CRITICAL_FROM: u64 = 33;

/// One field as it came.
pub(crate) struct Field<'a> {
    pub(crate) tag: u64,
    value: &'a [u8],
}

impl<'a> Field<'a> {
    /// What to do with a field that this version does not know: nothing, or not to go on.
    pub(crate) fn unknown(&self) -> Result<(), DecodeError> {
        if self.tag >= CRITICAL_FROM && self.tag % 2 == 1 {
            return Err(DecodeError::Critical(self.tag));
        }
        Ok(())
    }

    pub(crate) fn array<const N: usize>(&self, what: &'static str) -> Result<[u8; N], DecodeError> {
        self.value.try_into().map_err(|_| DecodeError::Invalid(what))
    }

    /// A number that fits `T`, and nothing behind it.
    pub(crate) fn number<T: TryFrom<u64>>(&self, what: &'static str) -> Result<T, DecodeError> {
        let mut value = self.value;
        let number = varint::take(&mut value)?;
        if !value.is_empty() {
            return Err(DecodeError::Invalid(what));
        }
        T::try_from(number).map_err(|_| DecodeError::Invalid(what))
    }

    /// A text that means something to programs: exact, or an error.
    pub(crate) fn name(&self, what: &'static str, limit: usize) -> Result<String, DecodeError> {
        if self.value.len() > limit {
            return Err(DecodeError::TooLong { what, limit });
        }
        let text = str::from_utf8(self.value).map_err(|_| DecodeError::Invalid(what))?;
        Ok(text.to_owned())
    }

    /// A text for people.
    pub(crate) fn text(&self) -> String {
        text(self.value)
    }

    pub(crate) fn address(&self, what: &'static str) -> Result<SocketAddr, DecodeError> {
        let (ip, port) = self.value.split_last_chunk::<2>().ok_or(DecodeError::Invalid(what))?;
        let port = u16::from_be_bytes(*port);
        if let Ok(v4) = <[u8; 4]>::try_from(ip) {
            Ok(SocketAddr::from((v4, port)))
        } else if let Ok(v6) = <[u8; 16]>::try_from(ip) {
            Ok(SocketAddr::from((v6, port)))
        } else {
            Err(DecodeError::Invalid(what))
        }
    }
}

/// Iterates over fields; ends after the first error.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    fn take(&mut self) -> Result<Field<'a>, DecodeError> {
        let tag = varint::take(&mut self.0)?;
        let length = usize::try_from(varint::take(&mut self.0)?).map_err(|_| DecodeError::Truncated)?;
        let (value, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(Field { tag, value })
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Field<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.take();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// `text` cut to at most `limit` bytes, at a character's border.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What a peer says to people: never an error, never longer than [`MAX_TEXT`], and without control characters, since it
/// ends on terminals and in logs.
pub(crate) fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_skipped_and_cut_ones_told() {
        let mut writer = Writer::default();
        let bytes = writer.number(1, 70_000).bytes(99, b"later").text(2, "hi\n").finish();
        let fields: Vec<_> = Reader::new(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(fields[0].number::<u32>("n"), Ok(70_000));
        assert_eq!(fields[0].number::<u16>("n"), Err(DecodeError::Invalid("n")));
        assert_eq!(fields[2].text(), "hi ");
        assert!(Reader::new(&bytes[..bytes.len() - 1]).any(|field| field.is_err()));
    }

    #[test]
    fn odd_tags_from_33_on_must_be_understood() {
        let unknown = |tag| {
            let bytes = Writer::default().number(tag, 1).finish();
            Reader::new(&bytes).next().unwrap().unwrap().unknown()
        };
        for tag in [0, 1, 31, 32, 34, 1 << 30] {
            assert_eq!(unknown(tag), Ok(()), "{tag}");
        }
        for tag in [33, 35, 99, (1 << 30) + 1] {
            assert_eq!(unknown(tag), Err(DecodeError::Critical(tag)));
        }
    }

    #[test]
    fn addresses_of_both_families_round_trip() {
        for address in ["10.1.2.3:80", "[fd00::1]:65535"] {
            let address: SocketAddr = address.parse().unwrap();
            let bytes = Writer::default().address(3, address).finish();
            let field = Reader::new(&bytes).next().unwrap().unwrap();
            assert_eq!(field.address("a"), Ok(address));
        }
        let bytes = Writer::default().bytes(3, b"\0\0\0").finish();
        assert!(Reader::new(&bytes).next().unwrap().unwrap().address("a").is_err());
    }

    #[test]
    fn texts_are_cut_at_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
