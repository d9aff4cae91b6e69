//! The ledger file of what was sent: NDJSON, one line per event. An event that is not in it was not sent.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{
    Generation, LoadError,
    generator::Made,
    identity::EventName,
    sent_events::{SendStatus, SentEvent, SentEvents},
};

/// One event.
#[derive(Debug, Serialize, Deserialize)]
struct LedgerLine<'l> {
    call: u32,
    event: u32,
    id: &'l str,
    generation: &'l str,
    /// XXH3-128 of the exact bytes, hex.
    digest: u128Hex,
    /// Digest of the CloudEvent that must be made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mapped: Option<u128Hex>,
    /// Status that settled it; 0 where the connection was lost, null where the run ended before.
    answer: Option<u16>,
    /// When it was due, Unix time in microseconds.
    sent_us: u64,
    /// When it was answered.
    answered_us: Option<u64>,
}

/// 128 bits as 32 hex digits: JSON numbers do not hold them.
#[derive(Clone, Copy, Debug)]
#[expect(non_camel_case_types, reason = "named after what it holds")]
struct u128Hex(u128);

impl Serialize for u128Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for u128Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// Opens the file for writing before anything is sent, so that an error shows early.
pub(super) fn create(path: &Path) -> Result<File, LoadError> {
    File::create(path).map_err(|source| failed("write", path, source))
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> LoadError {
    LoadError::Ledger {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Writes every event that was sent.
pub(super) fn write(file: File, path: &Path, sent_events: &SentEvents) -> Result<(), LoadError> {
    let mut out = BufWriter::with_capacity(1 << 18, file);
    for (name, generation, entry, mapped) in sent_events.sent_events() {
        let id = name.text();
        let answered = matches!(
            entry.send_status,
            SendStatus::Accepted | SendStatus::Refused
        );
        let line = LedgerLine {
            call: name.call,
            event: name.index,
            id: &id,
            generation: generation.as_str(),
            digest: u128Hex(entry.digest),
            mapped: mapped.map(u128Hex),
            answer: answered.then_some(entry.status),
            sent_us: entry.sent_us,
            answered_us: answered.then(|| entry.sent_us + u64::from(entry.answered_after_us)),
        };
        serde_json::to_writer(&mut out, &line)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(|source| failed("write", path, source))?;
    }
    out.flush().map_err(|source| failed("write", path, source))
}

/// One event as read, before the size of the table is known.
struct LedgerEntry {
    name: EventName,
    generation: Generation,
    made: Made,
    entry: SentEvent,
}

/// Reads a ledger into a table.
pub(super) fn read(path: &Path) -> Result<SentEvents, LoadError> {
    let file = File::open(path).map_err(|source| failed("read", path, source))?;
    let mut events: Vec<LedgerEntry> = Vec::new();
    for (number, text) in BufReader::new(file).lines().enumerate() {
        let text = text.map_err(|source| failed("read", path, source))?;
        let event = parse(&text, events.first().map(|first| first.name)).map_err(|reason| {
            LoadError::LedgerLine {
                path: path.to_owned(),
                line: number + 1,
                reason,
            }
        })?;
        events.push(event);
    }
    let Some(first) = events.first() else {
        return Err(LoadError::LedgerLine {
            path: path.to_owned(),
            line: 1,
            reason: "there is nothing to verify".to_owned(),
        });
    };
    let run = first.name.run;
    let calls = events
        .iter()
        .map(|event| event.name.call)
        .max()
        .unwrap_or_default() as usize
        + 1;
    let mut lengths = vec![(Generation::Ga, 0_u32); calls];
    for event in &events {
        if let Some((generation, length)) = lengths.get_mut(event.name.call as usize) {
            *generation = event.generation;
            *length = (*length).max(event.name.index + 1);
        }
    }
    let mut sent_events = SentEvents::new(run, lengths);
    for LedgerEntry {
        name, made, entry, ..
    } in &events
    {
        sent_events.sent(name.call, name.index, made, entry.sent_us);
        if entry.send_status != SendStatus::Unanswered {
            let after = entry.answered_after_us.into();
            sent_events.answered(
                name.call,
                name.index,
                entry.send_status,
                entry.status,
                after,
            );
        }
    }
    Ok(sent_events)
}

/// A call or event number beyond this is taken for a damaged line: the table has an entry for each number up to the
/// highest.
const LARGEST_NUMBER: u32 = 100_000_000;

fn parse(text: &str, first: Option<EventName>) -> Result<LedgerEntry, String> {
    let line: LedgerLine<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let generation = Generation::named(line.generation)
        .ok_or_else(|| format!("there is no generation {:?}", line.generation))?;
    let name = EventName::read(line.id.as_bytes())
        .filter(|name| name.call == line.call && name.index == line.event)
        .ok_or_else(|| format!("id {:?} is not that of the call and event", line.id))?;
    if name.call > LARGEST_NUMBER || name.index > LARGEST_NUMBER {
        return Err(format!(
            "there is no call {} with an event {}",
            name.call, name.index
        ));
    }
    if first.is_some_and(|first| first.run != name.run) {
        return Err(format!("run {} is another one than before", name.run));
    }
    let send_status = match line.answer {
        None => SendStatus::Unanswered,
        Some(status) if (200..300).contains(&status) => SendStatus::Accepted,
        Some(_) => SendStatus::Refused,
    };
    let after = line
        .answered_us
        .unwrap_or(line.sent_us)
        .saturating_sub(line.sent_us);
    Ok(LedgerEntry {
        name,
        generation,
        made: Made {
            digest: line.digest.0,
            mapped: line.mapped.map(|mapped| mapped.0),
        },
        entry: SentEvent {
            digest: line.digest.0,
            sent_us: line.sent_us,
            answered_after_us: u32::try_from(after).unwrap_or(u32::MAX),
            status: line.answer.unwrap_or_default(),
            send_status,
            seen: false,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunId;

    #[test]
    fn a_ledger_is_read_as_it_was_written() {
        let mut sent_events =
            SentEvents::new(RunId(9), [(Generation::Ga, 3), (Generation::EventGrid, 1)]);
        let made = |digest, mapped| Made { digest, mapped };
        sent_events.sent(0, 0, &made(u128::MAX - 1, None), 1_000);
        sent_events.answered(0, 0, SendStatus::Accepted, 202, 17);
        sent_events.sent(0, 1, &made(2, None), 2_000);
        sent_events.answered(0, 1, SendStatus::Refused, 503, 18);
        sent_events.sent(1, 0, &made(3, Some(4)), 3_000);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        write(create(&path).unwrap(), &path, &sent_events).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        let again = read(&path).unwrap();
        let all = |sent_events: &SentEvents| {
            sent_events
                .sent_events()
                .map(|(name, generation, entry, mapped)| {
                    format!("{name:?} {generation:?} {entry:?} {mapped:?}")
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(all(&again), all(&sent_events));
        assert_eq!(again.accepted(), 1);
    }

    #[test]
    fn an_unreadable_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let good = r#"{"call":0,"event":0,"id":"4c4f4144-0000-0009-0000-000000000000","generation":"ga","digest":"00000000000000000000000000000001","answer":202,"sent_us":1,"answered_us":2}"#;
        for (text, reason) in [
            (String::new(), "nothing to verify"),
            (format!("{good}\n{{"), "line 2"),
            (good.replace("\"ga\"", "\"gb\""), "no generation"),
            (good.replace("\"event\":0", "\"event\":1"), "is not that of"),
            (
                format!("{good}\n{}", good.replace("-0009-", "-000a-")),
                "another one",
            ),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = read(&path).err().unwrap().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
