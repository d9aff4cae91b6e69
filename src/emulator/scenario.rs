//! The scenario file: how the other side of the line behaves.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::event::Tone;

/// How the other side of the line behaves: a TOML file, all of it optional (`config/scenarios/`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What holds for everybody.
    #[serde(default)]
    pub(crate) line: Line,
    /// Callees; the first whose `match` fits is taken.
    #[serde(default, rename = "callee")]
    pub(crate) callees: Vec<Callee>,
    /// Calls that come in by themselves.
    #[serde(default, rename = "incoming")]
    pub(crate) incoming: Vec<Incoming>,
}

/// What holds for everybody.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Line {
    /// How long a file plays.
    #[serde(deserialize_with = "duration")]
    pub(crate) prompt: Duration,
    /// How long a word of a text takes to be spoken.
    #[serde(deserialize_with = "duration")]
    pub(crate) word: Duration,
    /// How long the service takes to tell of anything.
    #[serde(deserialize_with = "duration")]
    pub(crate) latency: Duration,
    /// How long a call rings that nobody answers, where the request names no timeout.
    #[serde(deserialize_with = "duration")]
    pub(crate) ring: Duration,
    /// Files that cannot be fetched, by their URI: what plays them fails.
    pub(crate) broken_files: Vec<Pattern>,
    /// Whether recordings start.
    pub(crate) recording: bool,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            prompt: Duration::from_secs(2),
            word: Duration::from_millis(300),
            latency: Duration::from_millis(50),
            ring: Duration::from_secs(30),
            broken_files: Vec::new(),
            recording: true,
        }
    }
}

/// How one callee, or many alike, behaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Callee {
    /// A phone number or raw id; `*` stands for any characters, `?` for one.
    #[serde(rename = "match")]
    pub(crate) who: Pattern,
    /// What becomes of a call or an invitation to it.
    #[serde(default)]
    pub(crate) answer: Answering,
    /// How long it rings before that.
    #[serde(default = "one_second", deserialize_with = "duration")]
    pub(crate) after: Duration,
    /// The keys it presses when asked to, such as `"1 2 3 #"`.
    #[serde(default, deserialize_with = "keys")]
    pub(crate) press: Vec<Tone>,
    /// How long it waits before the first key: after the prompt, or after tones are listened to.
    #[serde(default = "one_second", deserialize_with = "duration")]
    pub(crate) press_after: Duration,
    /// Between two keys.
    #[serde(default = "half_second", deserialize_with = "duration")]
    pub(crate) press_every: Duration,
    /// What it says when asked to speak.
    #[serde(default)]
    pub(crate) say: Option<String>,
    /// How long it waits before it speaks.
    #[serde(default = "one_second", deserialize_with = "duration")]
    pub(crate) say_after: Duration,
    /// How long after it joined it hangs up; never if left out.
    #[serde(default, deserialize_with = "some_duration")]
    pub(crate) hang_up_after: Option<Duration>,
    /// Whether what is done to it works: remove, move, hold, listening to its tones and sending it some.
    #[serde(default = "yes")]
    pub(crate) obliging: bool,
}

impl Default for Callee {
    fn default() -> Self {
        Self {
            who: Pattern::any(),
            answer: Answering::Accept,
            after: one_second(),
            press: Vec::new(),
            press_after: one_second(),
            press_every: half_second(),
            say: None,
            say_after: one_second(),
            hang_up_after: None,
            obliging: true,
        }
    }
}

/// What becomes of a call or an invitation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answering {
    #[default]
    Accept,
    Decline,
    Busy,
    NoAnswer,
}

/// Calls that come in by themselves: `IncomingCall` of Event Grid.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Incoming {
    /// Phone number or raw id of the caller.
    pub(crate) from: String,
    /// Phone number or raw id that is called.
    pub(crate) to: String,
    /// `callerDisplayName`.
    #[serde(default)]
    pub(crate) display_name: String,
    /// When the first one comes, from the start of the emulator.
    #[serde(default = "one_second", deserialize_with = "duration")]
    pub(crate) at: Duration,
    /// Between two of them.
    #[serde(default = "one_second", deserialize_with = "duration")]
    pub(crate) every: Duration,
    /// How many.
    #[serde(default = "one")]
    pub(crate) count: u32,
}

/// A glob over phone numbers and raw ids.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Pattern(String);

impl Pattern {
    fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether the whole of `text` fits: `*` any characters, `?` one.
    pub(crate) fn fits(&self, text: &str) -> bool {
        fn fits(pattern: &[char], text: &[char]) -> bool {
            match (pattern.split_first(), text.split_first()) {
                (None, None) => true,
                (Some(('*', rest)), _) => {
                    fits(rest, text)
                        || text
                            .split_first()
                            .is_some_and(|(_, less)| fits(pattern, less))
                }
                (Some(('?', rest)), Some((_, less))) => fits(rest, less),
                (Some((wanted, rest)), Some((found, less))) => wanted == found && fits(rest, less),
                _ => false,
            }
        }
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        fits(&chars(&self.0), &chars(text))
    }
}

impl Scenario {
    /// Reads a scenario file's text.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// How `who`, a phone number or a raw id, behaves.
    pub(crate) fn callee(&self, who: &str) -> Callee {
        self.callees
            .iter()
            .find(|callee| callee.who.fits(who))
            .cloned()
            .unwrap_or_default()
    }
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

fn half_second() -> Duration {
    Duration::from_millis(500)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| {
        serde::de::Error::custom(format!(
            "{text:?} is no duration such as \"2s\" or \"300ms\": {error}"
        ))
    })
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Tone>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.chars()
        .filter(|key| !key.is_whitespace())
        .map(|key| {
            Tone::from_key(key).ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "{key:?} is no key of a phone: 0 to 9, *, #, A to D"
                ))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_callee_that_fits_is_taken() {
        let scenario = Scenario::parse(
            "[[callee]]\nmatch = \"+1555*9\"\nanswer = \"busy\"\npress = \"1 2 #\"\n\
             [[callee]]\nmatch = \"+1555????\"\nhang_up_after = \"30s\"\n",
        )
        .expect("a scenario");
        assert_eq!(scenario.callee("+15550109").answer, Answering::Busy);
        assert_eq!(scenario.callee("+15550109").press.len(), 3);
        assert_eq!(
            scenario.callee("+15550100").hang_up_after,
            Some(Duration::from_secs(30))
        );
        assert_eq!(scenario.callee("8:acs:1").answer, Answering::Accept);
    }

    #[test]
    fn what_cannot_be_is_named_with_its_line() {
        for (text, says) in [
            ("[[callee]]\nanswer = \"accept\"", "match"),
            (
                "[[callee]]\nmatch = \"*\"\npress = \"1 x\"",
                "'x' is no key",
            ),
            (
                "[[callee]]\nmatch = \"*\"\nafter = \"soon\"",
                "\"soon\" is no duration",
            ),
            ("[[callee]]\nmatch = \"*\"\nanswers = \"busy\"", "answers"),
            ("[line]\nprompt = 2", "prompt"),
        ] {
            let error = Scenario::parse(text).expect_err("wrong").to_string();
            assert!(error.contains(says) && error.contains("line"), "{error}");
        }
    }
}
