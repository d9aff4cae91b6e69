//! How the generator's events are recognized: by an id in the body, shaped like the GUIDs that the service uses.

use memchr::memmem;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

/// "LOAD" in ASCII: what every id of an event begins with.
const MARK: u32 = 0x4c4f_4144;
const MARK_TEXT: &[u8] = b"4c4f4144-";
/// A GUID in hex with its four hyphens.
const GUID_BYTES: usize = 36;
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// One run of the generator. Events of another one are foreign to the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId(pub u32);

impl RunId {
    /// The run that goes with a seed, so that the same seed makes the same bytes.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let hash = xxh3_64_with_seed(b"run", seed).to_be_bytes();
        let [a, b, c, d, ..] = hash;
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl std::str::FromStr for RunId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u32::from_str_radix(text, 16).map(Self)
    }
}

/// Which event of which call of which run. Both count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EventName {
    pub(super) run: RunId,
    pub(super) call: u32,
    pub(super) index: u32,
}

impl EventName {
    fn bits(self) -> u128 {
        (u128::from(MARK) << 96)
            | (u128::from(self.run.0) << 64)
            | (u128::from(self.call) << 32)
            | u128::from(self.index)
    }

    /// Writes the id: a GUID of the mark, the run, the call and the index.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        write_guid(out, self.bits());
    }

    pub(super) fn text(self) -> String {
        let mut out = Vec::with_capacity(GUID_BYTES);
        self.write(&mut out);
        out.into_iter().map(char::from).collect()
    }

    /// The first id of the generator in a body, without parsing its JSON.
    pub(super) fn find(body: &[u8]) -> Option<Self> {
        memmem::find_iter(body, MARK_TEXT).find_map(|at| Self::read(body.get(at..at + GUID_BYTES)?))
    }

    /// Reads a text that is one id and nothing else.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        if text.len() != GUID_BYTES || !text.starts_with(MARK_TEXT) {
            return None;
        }
        let mut bits = 0_u128;
        for (place, byte) in text.iter().enumerate() {
            if HYPHENS.contains(&place) {
                if *byte != b'-' {
                    return None;
                }
                continue;
            }
            let digit = char::from(*byte).to_digit(16)?;
            bits = (bits << 4) | u128::from(digit);
        }
        let part = |shift: u32| u32::try_from((bits >> shift) & 0xffff_ffff).ok();
        Some(Self {
            run: RunId(part(64)?),
            call: part(32)?,
            index: part(0)?,
        })
    }
}

/// The ids that the events of a call share.
pub(super) struct CallIds {
    run: RunId,
    call: u32,
}

impl CallIds {
    pub(super) fn new(run: RunId, call: u32) -> Self {
        Self { run, call }
    }

    /// `callConnectionId`, or `CallLegId`.
    pub(super) fn connection(&self, out: &mut Vec<u8>) {
        write_guid(out, self.made(0));
    }

    pub(super) fn correlation(&self, out: &mut Vec<u8>) {
        write_guid(out, self.made(1));
    }

    pub(super) fn recording(&self, out: &mut Vec<u8>) {
        write_guid(out, self.made(2));
    }

    /// Base64 of a URL, as `serverCallId` is; hex digits are base64 digits too.
    pub(super) fn server(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"aHR0cHM6Ly9jb252LmV4YW1wbGUvYy");
        write_hex(out, self.made(3) >> 64, 16);
    }

    fn made(&self, which: u8) -> u128 {
        let mut input = [0_u8; 9];
        let mut parts = self.run.0.to_be_bytes().into_iter();
        let mut rest = self.call.to_be_bytes().into_iter();
        for slot in &mut input {
            *slot = parts.next().or_else(|| rest.next()).unwrap_or(which);
        }
        xxh3_128(&input)
    }
}

fn write_guid(out: &mut Vec<u8>, bits: u128) {
    write_hex(out, bits >> 96, 8);
    out.push(b'-');
    write_hex(out, bits >> 80, 4);
    out.push(b'-');
    write_hex(out, bits >> 64, 4);
    out.push(b'-');
    write_hex(out, bits >> 48, 4);
    out.push(b'-');
    write_hex(out, bits, 12);
}

/// The low `digits` hex digits.
fn write_hex(out: &mut Vec<u8>, bits: u128, digits: u32) {
    for place in (0..digits).rev() {
        let digit = u32::try_from((bits >> (place * 4)) & 0xf).unwrap_or_default();
        let digit = char::from_digit(digit, 16).unwrap_or('0');
        let mut text = [0_u8; 4];
        out.extend_from_slice(digit.encode_utf8(&mut text).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(call: u32, index: u32) -> EventName {
        EventName {
            run: RunId(0xdead_beef),
            call,
            index,
        }
    }

    #[test]
    fn an_id_is_a_guid_and_is_found_again() {
        for name in [name(0, 0), name(1, 2), name(u32::MAX, u32::MAX)] {
            let text = name.text();
            assert_eq!(text.len(), 36);
            let body = format!(r#"{{"x":"4c4f4144-","id":"{text}","y":1}}"#);
            assert_eq!(EventName::find(body.as_bytes()), Some(name));
            assert_eq!(EventName::read(text.as_bytes()), Some(name));
        }
        assert_eq!(name(1, 2).text(), "4c4f4144-dead-beef-0000-000100000002");
    }

    #[test]
    fn other_bodies_have_no_id() {
        for body in [
            "",
            "4c4f4144-",
            r#"{"id":"4c4f4144-dead-beef-0000-00010000000"}"#,
            r#"{"id":"411f0b00-d97f-49ad-a6ff-3f8c05dc64d7"}"#,
        ] {
            assert_eq!(EventName::find(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn the_ids_of_a_call_are_its_own() {
        let all = |call| {
            let ids = CallIds::new(RunId(7), call);
            let mut out = Vec::new();
            ids.connection(&mut out);
            ids.correlation(&mut out);
            ids.recording(&mut out);
            ids.server(&mut out);
            out
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        assert_eq!(all(1).len(), 3 * 36 + 46);
    }
}
