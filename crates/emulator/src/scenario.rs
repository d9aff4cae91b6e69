//! The scenario file: how callees behave, and which incoming calls there are.

use std::{fmt, str::Chars, time::Duration};

use serde::{Deserialize, Deserializer, de::Visitor};

use super::event::Tone;

/// No scenario needs a longer wait, and sums of waits stay far below the largest duration.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How callees behave and which incoming calls there are: a TOML file in which every key is optional (`config/scenarios/`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What applies to all calls.
    #[serde(default)]
    pub(crate) line: LineBehaviour,
    /// Callees; the first one whose `match` fits is taken.
    #[serde(default, rename = "callee")]
    pub(crate) callees: Vec<Callee>,
    /// Incoming calls that the scenario starts.
    #[serde(default, deserialize_with = "incoming")]
    pub(crate) incoming: Vec<Incoming>,
}

/// What applies to all calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LineBehaviour {
    /// How long a file plays.
    #[serde(deserialize_with = "duration")]
    pub(crate) prompt: Duration,
    /// How long a word of a text takes to be spoken.
    #[serde(deserialize_with = "duration")]
    pub(crate) word: Duration,
    /// How long the service takes to report anything.
    #[serde(deserialize_with = "duration")]
    pub(crate) latency: Duration,
    /// How long an unanswered call rings if the request names no timeout.
    #[serde(deserialize_with = "duration")]
    pub(crate) ring: Duration,
    /// Files that cannot be fetched, by their URI: playing them fails.
    pub(crate) broken_files: Vec<NumberPattern>,
    /// Whether recordings start.
    pub(crate) recording: bool,
}

impl Default for LineBehaviour {
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
    /// A phone number or raw id; `*` matches any characters, `?` one.
    #[serde(rename = "match")]
    pub(crate) who: NumberPattern,
    /// The outcome of a call or an invitation to it.
    #[serde(default)]
    pub(crate) answer: Answering,
    /// How long it rings before that.
    #[serde(default = "one_second", deserialize_with = "duration")]
    pub(crate) after: Duration,
    /// The keys it presses when asked to: `"1 2 3 #"`.
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
    /// How long after joining it hangs up; never if left out.
    #[serde(default, deserialize_with = "some_duration")]
    pub(crate) hang_up_after: Option<Duration>,
    /// Whether operations on it succeed: remove, move, hold, listening to its tones and sending it some.
    #[serde(default = "yes")]
    pub(crate) obliging: bool,
}

impl Default for Callee {
    fn default() -> Self {
        Self {
            who: NumberPattern::any(),
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

/// The outcome of a call or an invitation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answering {
    #[default]
    Accept,
    Decline,
    Busy,
    NoAnswer,
}

/// Incoming calls that the scenario starts: `IncomingCall` of Event Grid.
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
    /// When the first call arrives, from the start of the emulator.
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
pub(crate) struct NumberPattern(String);

impl NumberPattern {
    fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether all of `text` matches: `*` any characters, `?` one.
    pub(crate) fn fits(&self, text: &str) -> bool {
        let (mut pattern, mut text) = (self.0.chars(), text.chars());
        // What follows the last `*`, and the text from where that is tried: if it fails, the `*` takes one more
        // character. An earlier `*` never has to: whatever it could give up, the last one can take.
        let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
        loop {
            let from = text.clone();
            let fits = match (pattern.next(), text.next()) {
                (Some('*'), _) => {
                    star = Some((pattern.clone(), from.clone()));
                    text = from;
                    true
                }
                (None, None) => return true,
                (Some('?'), Some(_)) => true,
                (wanted, found) => wanted == found,
            };
            if fits {
                continue;
            }
            let Some((behind, tried)) = &mut star else {
                return false;
            };
            if tried.next().is_none() {
                return false;
            }
            (pattern, text) = (behind.clone(), tried.clone());
        }
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

    /// How `who` (a phone number or a raw id) behaves.
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
    deserializer.deserialize_str(DurationText)
}

/// A duration as people write it.
struct DurationText;

impl Visitor<'_> for DurationText {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, like \"2s\" or \"300ms\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Duration, E> {
        let duration = humantime::parse_duration(text).map_err(|error| {
            E::custom(format!(
                "{text:?} is not a duration like \"2s\" or \"300ms\": {error}"
            ))
        })?;
        if duration > LONGEST {
            return Err(E::custom(format!("{text:?} is longer than a day")));
        }
        Ok(duration)
    }
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

fn incoming<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Incoming>, D::Error> {
    let incoming = Vec::<Incoming>::deserialize(deserializer)?;
    if let Some(calls) = incoming
        .iter()
        .find(|calls| calls.count > 1 && calls.every.is_zero())
    {
        return Err(serde::de::Error::custom(format!(
            "the {} calls from {} come with every = \"0s\" between them: write every = \"1s\" or the like",
            calls.count, calls.from
        )));
    }
    Ok(incoming)
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Tone>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.chars()
        .filter(|key| !key.is_whitespace())
        .map(|key| {
            Tone::from_key(key).ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "{key:?} is not a key of a phone: 0 to 9, *, #, A to D"
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
    fn patterns_fit_as_in_file_names_whatever_the_length() {
        let fits = |pattern: &str, text: &str| NumberPattern(pattern.to_owned()).fits(text);
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("**", "a", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*ab", "aab", true),
            ("*a?", "aaab", true),
            ("+1555????", "+15550100", true),
            ("+1555????", "+155501000", false),
            ("a", "ab", false),
            ("ab", "a", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        let long = "1".repeat(1_000_000);
        assert!(fits("*", &long) && fits("1*1", &long) && fits(&long, &long));
        assert!(!fits("*1*1*1*1*1*1*2", &long));
    }

    #[test]
    fn an_impossible_value_is_named_with_its_line() {
        for (text, says) in [
            ("[[callee]]\nanswer = \"accept\"", "match"),
            (
                "[[callee]]\nmatch = \"*\"\npress = \"1 x\"",
                "'x' is not a key",
            ),
            (
                "[[callee]]\nmatch = \"*\"\nafter = \"soon\"",
                "\"soon\" is not a duration",
            ),
            ("[[callee]]\nmatch = \"*\"\nanswers = \"busy\"", "answers"),
            (
                "[line]\nprompt = 2",
                "expected a duration in quotes, like \"2s\"",
            ),
            ("[line]\nring = \"25h\"", "\"25h\" is longer than a day"),
            (
                "[[incoming]]\nfrom = \"+1\"\nto = \"+2\"\ncount = 2\nevery = \"0s\"",
                "the 2 calls from +1 come with every = \"0s\"",
            ),
        ] {
            let error = Scenario::parse(text).expect_err("wrong").to_string();
            assert!(error.contains(says) && error.contains("line"), "{error}");
        }
    }
}
