//! The outcome of a recognize request: decided by the request and by the callee's behaviour, from the end of the prompt
//! on.

use std::time::Duration;

use super::{
    super::{
        event::{Happened, Recognized, ResultInformation, Tone},
        scenario::Callee,
    },
    Choice, DtmfOptions, Input, Recognize,
};

/// What is reported, and how long after the end of the prompt.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RecognizeOutcome {
    pub(super) after: Duration,
    pub(super) result: ResultInformation,
    pub(super) happened: Happened,
}

/// The codes are those of the service's table (docs/src/reference/acs-events.md, "Result codes").
pub(super) fn outcome(request: &Recognize, callee: &Callee) -> RecognizeOutcome {
    let silence = request.initial_silence;
    let pressed = (!callee.press.is_empty() && callee.press_after <= silence).then_some(callee);
    let said = callee
        .say
        .as_deref()
        .filter(|_| callee.say_after <= silence);
    match &request.input {
        Input::Dtmf(options) => pressed.map(|callee| tones(options, callee)),
        Input::Speech => said.map(|words| speech(words, callee)),
        // Whichever comes first.
        Input::SpeechOrDtmf(options) => match (pressed, said) {
            (Some(_), Some(words)) if callee.say_after < callee.press_after => {
                Some(speech(words, callee))
            }
            (Some(callee), _) => Some(tones(options, callee)),
            (None, Some(words)) => Some(speech(words, callee)),
            (None, None) => None,
        },
        Input::Choices(choices) => match (pressed, said) {
            (Some(_), Some(words)) if callee.say_after < callee.press_after => {
                Some(spoken_choice(choices, words, callee))
            }
            (Some(callee), _) => Some(pressed_choice(choices, callee)),
            (None, Some(words)) => Some(spoken_choice(choices, words, callee)),
            (None, None) => None,
        },
    }
    .unwrap_or_else(|| RecognizeOutcome {
        after: silence,
        result: ResultInformation::new(
            400,
            8510,
            "Action failed, initial silence timeout reached.",
        ),
        happened: Happened::RecognizeFailed { source: None },
    })
}

/// Tones are collected until a stop tone, as many as wanted, or a pause that is too long.
fn tones(options: &DtmfOptions, callee: &Callee) -> RecognizeOutcome {
    let mut collected: Vec<Tone> = Vec::new();
    let mut after = callee.press_after;
    let mut sub_code = None;
    for (index, tone) in callee.press.iter().enumerate() {
        if index > 0 {
            if callee.press_every > options.between_tones {
                break;
            }
            after += callee.press_every;
        }
        collected.push(*tone);
        if options.stop.contains(tone) {
            sub_code = Some((8514, "Action completed, stop tone detected."));
            break;
        }
        if options.most.is_some_and(|most| collected.len() >= most) {
            sub_code = Some((8531, "Action completed, max digits received."));
            break;
        }
    }
    let (sub_code, message) = sub_code.unwrap_or_else(|| {
        after += options.between_tones;
        (8532, "Action completed, inter digit time out.")
    });
    RecognizeOutcome {
        after,
        result: ResultInformation::new(200, sub_code, message),
        happened: Happened::RecognizeCompleted(Recognized::Dtmf { tones: collected }),
    }
}

fn speech(words: &str, callee: &Callee) -> RecognizeOutcome {
    RecognizeOutcome {
        after: callee.say_after,
        result: ResultInformation::completed(),
        happened: Happened::RecognizeCompleted(Recognized::Speech {
            speech: words.to_owned(),
        }),
    }
}

fn pressed_choice(choices: &[Choice], callee: &Callee) -> RecognizeOutcome {
    let chosen = callee
        .press
        .first()
        .and_then(|tone| choices.iter().find(|choice| choice.tone == Some(*tone)));
    match chosen {
        Some(choice) => RecognizeOutcome {
            after: callee.press_after,
            result: ResultInformation::new(200, 8533, "Action completed, DTMF option matched."),
            happened: Happened::RecognizeCompleted(Recognized::Choice {
                label: choice.label.clone(),
                phrase: None,
            }),
        },
        None => not_matched(callee.press_after),
    }
}

/// A phrase fits if it occurs in what was said, whatever its case.
fn spoken_choice(choices: &[Choice], words: &str, callee: &Callee) -> RecognizeOutcome {
    let said = words.to_lowercase();
    let chosen = choices.iter().find_map(|choice| {
        let phrase = choice
            .phrases
            .iter()
            .find(|phrase| said.contains(&phrase.to_lowercase()))?;
        Some((choice, phrase))
    });
    match chosen {
        Some((choice, phrase)) => RecognizeOutcome {
            after: callee.say_after,
            result: ResultInformation::new(200, 8545, "Action completed, speech option matched."),
            happened: Happened::RecognizeCompleted(Recognized::Choice {
                label: choice.label.clone(),
                phrase: Some(phrase.clone()),
            }),
        },
        None => not_matched(callee.say_after),
    }
}

fn not_matched(after: Duration) -> RecognizeOutcome {
    RecognizeOutcome {
        after,
        result: ResultInformation::new(
            400,
            8547,
            "Action failed, recognized phrase does not match a valid option.",
        ),
        happened: Happened::RecognizeFailed { source: None },
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::scenario::Scenario, *};
    use crate::{identity::Identifier, world::Operation};

    fn asked(input: Input, callee: &str) -> RecognizeOutcome {
        let request = Recognize {
            input,
            prompts: Vec::new(),
            target: Identifier::from_raw_id("4:+15550100"),
            initial_silence: Duration::from_secs(5),
            interrupt_prompt: false,
            interrupt: false,
            operation: Operation::default(),
        };
        let scenario = Scenario::parse(&format!("[[callee]]\nmatch = \"*\"\n{callee}"));
        outcome(&request, &scenario.expect("a scenario").callee("+15550100"))
    }

    fn dtmf(most: Option<usize>, stop: &str) -> Input {
        Input::Dtmf(DtmfOptions {
            between_tones: Duration::from_secs(2),
            most,
            stop: stop.chars().filter_map(Tone::from_key).collect(),
        })
    }

    fn pressed(outcome: &RecognizeOutcome) -> String {
        match &outcome.happened {
            Happened::RecognizeCompleted(Recognized::Dtmf { tones }) => {
                tones.iter().map(|tone| tone.key()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn tones_are_collected_until_something_ends_them() {
        let keys = "press = \"1 2 3 # 4\"";
        let stopped = asked(dtmf(None, "#"), keys);
        assert_eq!(
            (pressed(&stopped).as_str(), stopped.result.sub_code),
            ("123#", 8514)
        );
        let enough = asked(dtmf(Some(2), "#"), keys);
        assert_eq!(
            (pressed(&enough).as_str(), enough.result.sub_code),
            ("12", 8531)
        );
        let slow = asked(dtmf(Some(4), ""), "press = \"12\"\npress_every = \"3s\"");
        assert_eq!((pressed(&slow).as_str(), slow.result.sub_code), ("1", 8532));
        assert_eq!(slow.after, Duration::from_secs(3));
    }

    #[test]
    fn silence_fails_after_its_time() {
        for callee in ["", "press = \"1\"\npress_after = \"6s\"", "say = \"yes\""] {
            let silent = asked(dtmf(None, ""), callee);
            assert_eq!(silent.result.sub_code, 8510, "{callee}");
            assert_eq!(silent.after, Duration::from_secs(5));
        }
    }

    #[test]
    fn a_choice_is_made_by_tone_or_by_phrase() {
        let choices = || {
            Input::Choices(vec![
                Choice {
                    label: "Confirm".to_owned(),
                    phrases: vec!["yes".to_owned(), "sure".to_owned()],
                    tone: Tone::from_key('1'),
                },
                Choice {
                    label: "Cancel".to_owned(),
                    phrases: vec!["no".to_owned()],
                    tone: None,
                },
            ])
        };
        let label = |outcome: RecognizeOutcome| match outcome.happened {
            Happened::RecognizeCompleted(Recognized::Choice { label, phrase }) => {
                Some((label, phrase))
            }
            _ => None,
        };
        let spoken = asked(choices(), "say = \"Yes please\"");
        assert_eq!(spoken.result.sub_code, 8545);
        assert_eq!(
            label(spoken),
            Some(("Confirm".to_owned(), Some("yes".to_owned())))
        );
        assert_eq!(
            label(asked(choices(), "press = \"1\"")),
            Some(("Confirm".to_owned(), None))
        );
        assert_eq!(label(asked(choices(), "press = \"7\"")), None);
        assert_eq!(asked(choices(), "say = \"well\"").result.sub_code, 8547);
    }
}
