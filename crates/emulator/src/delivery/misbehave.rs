//! Which misbehaviour each event of a call gets: rates from the command line, and a random draw that a seed repeats.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Something that the real service does occasionally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MisbehaviourKind {
    /// A pair of neighbours is swapped.
    Reorder,
    /// The same event, with the same id, is posted again.
    Duplicate,
    /// Several events in one array.
    Batch,
    /// An event arrives after the last one of its call.
    Late,
    /// A callback is delayed, and those behind it too.
    Delay,
    /// The connection is dropped before the answer is read; what was posted is posted again.
    Drop,
    /// A recording is reported as `inactive`, without a start, shortly before it is `active`. This is an event of its
    /// own, and the other kinds may be applied to it.
    Inactive,
}

impl MisbehaviourKind {
    /// The kinds that are applied to events.
    const TO_EVENTS: [Self; 6] = [
        Self::Reorder,
        Self::Duplicate,
        Self::Batch,
        Self::Late,
        Self::Delay,
        Self::Drop,
    ];

    fn all() -> impl Iterator<Item = Self> {
        Self::TO_EVENTS.into_iter().chain([Self::Inactive])
    }

    /// The name on the command line and in the summary.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reorder => "reorder",
            Self::Duplicate => "duplicate",
            Self::Batch => "batch",
            Self::Late => "late",
            Self::Delay => "delay",
            Self::Drop => "drop",
            Self::Inactive => "inactive",
        }
    }
}

/// Rates of misbehaviour: `reorder=0.1,duplicate=0.1,batch=0.1,late=0.1,delay=0.1,drop=0.1,inactive=0.1`, or `all=0.1`.
///
/// Each is the share of the events that it is applied to, from 0 to 1; for `inactive`, the share of the recordings.
/// Later entries win, so `all=0.1,drop=0` is everything except drops.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Misbehaviour {
    /// Zero rates are left out.
    rates: BTreeMap<MisbehaviourKind, f64>,
}

/// Why rates of misbehaviour cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MisbehaviourError {
    /// No `=` in it.
    #[error("misbehaviour {0:?} has no rate: write it like reorder=0.1")]
    NoRate(String),
    /// Not one of the names.
    #[error(
        "{0:?} is not a misbehaviour: known are reorder, duplicate, batch, late, delay, drop, inactive, and all"
    )]
    Unknown(String),
    /// Not a number, or outside of 0 to 1.
    #[error("the rate {rate:?} of {name} is not a number from 0 to 1")]
    Rate {
        /// The name of the misbehaviour.
        name: String,
        /// The rate as given.
        rate: String,
    },
}

impl FromStr for Misbehaviour {
    type Err = MisbehaviourError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rates = BTreeMap::new();
        let entries = text.split(',').map(str::trim);
        for entry in entries.filter(|entry| !entry.is_empty() && *entry != "none") {
            let (name, given) = entry
                .split_once('=')
                .ok_or_else(|| MisbehaviourError::NoRate(entry.to_owned()))?;
            let (name, given) = (name.trim(), given.trim());
            let acts: Vec<MisbehaviourKind> = MisbehaviourKind::all()
                .filter(|act| name == "all" || name == act.name())
                .collect();
            if acts.is_empty() {
                return Err(MisbehaviourError::Unknown(name.to_owned()));
            }
            let rate = given
                .parse()
                .ok()
                .filter(|rate| (0.0..=1.0).contains(rate))
                .ok_or_else(|| MisbehaviourError::Rate {
                    name: name.to_owned(),
                    rate: given.to_owned(),
                })?;
            rates.extend(acts.into_iter().map(|act| (act, rate)));
        }
        rates.retain(|_, rate| *rate > 0.0);
        Ok(Self { rates })
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rates.is_empty() {
            return f.write_str("none");
        }
        for (place, (act, rate)) in self.rates.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}={rate}", act.name())?;
        }
        Ok(())
    }
}

/// Where an event is in a run. Together with the seed this decides what is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EventCoordinates {
    /// Event Grid's deliveries, or a call's callbacks.
    pub(super) grid: bool,
    /// The call's ordinal.
    pub(super) ordinal: u64,
    /// How many events of the call came before it.
    pub(super) index: u64,
}

/// Randomness for one event: the same for the same seed, place and purpose, whatever other events there were.
pub(super) fn randomness(seed: u64, of: EventCoordinates, purpose: u8) -> StdRng {
    let parts = [
        seed.to_le_bytes(),
        of.ordinal.to_le_bytes(),
        of.index.to_le_bytes(),
        [u8::from(of.grid), purpose, 0, 0, 0, 0, 0, 0],
    ];
    let mut key = [0; 32];
    key.iter_mut()
        .zip(parts.iter().flatten())
        .for_each(|(to, from)| *to = *from);
    StdRng::from_seed(key)
}

/// What is done to one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EventFate {
    /// One of reorder, batch and late at most: they contradict each other.
    pub(super) place: OrderChange,
    /// The event is posted again.
    pub(super) again: Option<CopyTiming>,
    /// Before its callback is posted, in call time.
    pub(super) delay: Option<Duration>,
    /// Its callback's first attempt loses its connection.
    pub(super) cut: Option<ConnectionDrop>,
    /// The event itself is this misbehaviour. The caller sets it; nothing is drawn for it here.
    pub(super) extra: Option<MisbehaviourKind>,
}

/// Where an event is put among the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OrderChange {
    #[default]
    InOrder,
    /// Behind the next.
    BehindNext,
    /// Behind the last.
    BehindLast,
    /// In an array with the following ones: this many in all.
    With(usize),
}

/// When the copy of an event is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyTiming {
    /// Behind the following event.
    BehindNext,
    /// After a second.
    InASecond,
}

/// When a connection is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionDrop {
    /// As soon as the request is sent.
    AtOnce,
    /// When an answer has come, unread.
    WhenAnswered,
}

impl Misbehaviour {
    /// The share of recordings that are reported as `inactive` before they start.
    pub(crate) fn inactive_first(&self) -> f64 {
        self.rate(MisbehaviourKind::Inactive)
    }

    fn rate(&self, act: MisbehaviourKind) -> f64 {
        self.rates.get(&act).copied().unwrap_or_default()
    }

    /// Everything is drawn whatever the rates are, so that changing one rate does not change which events the others
    /// select.
    pub(super) fn fate(&self, seed: u64, of: EventCoordinates) -> EventFate {
        let mut random = randomness(seed, of, b'f');
        let [reorder, duplicate, batch, late, delay, drop] =
            MisbehaviourKind::TO_EVENTS.map(|act| {
                // Not `random_bool`: it draws nothing where the rate is 0 or 1.
                random.random::<f64>() < self.rate(act)
            });
        let together = random.random_range(2..=4);
        let again = if random.random_bool(0.5) {
            CopyTiming::BehindNext
        } else {
            CopyTiming::InASecond
        };
        let pause = Duration::from_millis(random.random_range(100..=3000));
        let cut = if random.random_bool(0.5) {
            ConnectionDrop::AtOnce
        } else {
            ConnectionDrop::WhenAnswered
        };
        EventFate {
            place: match (late, reorder, batch) {
                (true, _, _) => OrderChange::BehindLast,
                (_, true, _) => OrderChange::BehindNext,
                (_, _, true) => OrderChange::With(together),
                _ => OrderChange::InOrder,
            },
            again: duplicate.then_some(again),
            delay: delay.then_some(pause),
            cut: drop.then_some(cut),
            extra: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written_alike() {
        let text = "reorder=0.1,duplicate=0.2,batch=0.3,late=0.4,delay=0.5,drop=1,inactive=0.6";
        let rates: Misbehaviour = text.parse().unwrap();
        assert_eq!(rates.to_string(), text);
        let rates: Misbehaviour = " all = 0.25, drop = 0 ".parse().unwrap();
        assert_eq!(
            rates.to_string(),
            "reorder=0.25,duplicate=0.25,batch=0.25,late=0.25,delay=0.25,inactive=0.25"
        );
        for nothing in ["", "none", "all=0"] {
            assert_eq!(nothing.parse(), Ok(Misbehaviour::default()));
        }
        assert_eq!(Misbehaviour::default().to_string(), "none");
    }

    #[test]
    fn unreadable_rates_are_named() {
        for (text, says) in [
            ("reorder", "\"reorder\" has no rate"),
            (
                "shuffle=0.1",
                "\"shuffle\" is not a misbehaviour: known are reorder, duplicate, batch, late, delay, drop, inactive, and all",
            ),
            ("late=1.1", "the rate \"1.1\" of late"),
            ("drop=often", "the rate \"often\" of drop"),
            ("all=NaN", "the rate \"NaN\" of all"),
        ] {
            let error = text.parse::<Misbehaviour>().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    fn of(index: u64) -> EventCoordinates {
        EventCoordinates {
            grid: false,
            ordinal: 7,
            index,
        }
    }

    #[test]
    fn a_rate_is_the_part_of_the_events_that_it_happens_to() {
        let rates: Misbehaviour = "drop=0.1,duplicate=0.5".parse().unwrap();
        let fates: Vec<EventFate> = (0..4000).map(|index| rates.fate(3, of(index))).collect();
        let cut = fates.iter().filter(|fate| fate.cut.is_some()).count();
        let again = fates.iter().filter(|fate| fate.again.is_some()).count();
        assert!((320..480).contains(&cut), "{cut}");
        assert!((1850..2150).contains(&again), "{again}");
        assert!(fates.iter().all(|fate| fate.delay.is_none()));
    }

    #[test]
    fn an_inactive_recording_is_part_of_all_and_no_fate_of_an_event() {
        let inactive_first = |text: &str| text.parse::<Misbehaviour>().unwrap().inactive_first();
        assert_eq!(inactive_first("all=0.25").to_string(), "0.25");
        assert_eq!(inactive_first("all=0.25,inactive=1").to_string(), "1");
        assert_eq!(inactive_first("all=0.25,inactive=0").to_string(), "0");
        assert_eq!(inactive_first("drop=1").to_string(), "0");
        let rates: Misbehaviour = "inactive=1".parse().unwrap();
        assert!((0..200).all(|index| rates.fate(1, of(index)) == EventFate::default()));
    }

    #[test]
    fn a_change_of_one_rate_leaves_the_victims_of_the_others_alone() {
        let few: Misbehaviour = "drop=0.3".parse().unwrap();
        let many: Misbehaviour = "drop=0.3,delay=0.9,duplicate=1".parse().unwrap();
        for index in 0..200 {
            assert_eq!(few.fate(1, of(index)).cut, many.fate(1, of(index)).cut);
        }
    }
}
