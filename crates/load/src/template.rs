//! Events written ahead: everything but ids and counters is text already, so that an event costs a few copies.

use super::{
    generation::{Form, Generation},
    identity::{CallIds, EventName},
    shapes::EventShape,
};

/// One piece of an event.
enum TemplatePart {
    Text(Vec<u8>),
    Event,
    Call,
    Server,
    Correlation,
    Recording,
    Number,
    Ticks,
}

/// An event without its ids.
pub(super) struct Template {
    parts: Vec<TemplatePart>,
    bytes: usize,
}

/// The padding text.
const FILLING: &str = " Nothing else is known about it.";

impl Template {
    /// Cuts a shape into its parts and fills it up to about `bytes`; one that is longer by itself stays so.
    pub(super) fn new(shape: &EventShape, generation: Generation, bytes: usize) -> Self {
        let text = shape.text(generation);
        let bare = Self::cut(&text.replace("<pad>", ""));
        let missing = bytes.saturating_sub(bare.bytes);
        if missing == 0 {
            return bare;
        }
        if text.contains("<pad>") {
            return Self::cut(&text.replace("<pad>", &filling(missing)));
        }
        // No text of its own that could be longer: a member that the open schemas let pass.
        let member = match generation.form() {
            Form::PrivatePreview => r#","LoadPadding":""#,
            Form::CloudEvent | Form::EventGrid => r#","loadPadding":""#,
        };
        let Some(missing) = missing.checked_sub(member.len() + 1) else {
            return bare;
        };
        let padded = format!("{member}{}\"}}", filling(missing));
        // `data` is the only object that ends inside the event and is followed by one of these.
        let (end, next) = match generation.form() {
            Form::CloudEvent => ("},\"time\"", ",\"time\""),
            Form::EventGrid | Form::PrivatePreview => ("},\"eventType\"", ",\"eventType\""),
        };
        Self::cut(&text.replacen(end, &format!("{padded}{next}"), 1))
    }

    fn cut(text: &str) -> Self {
        let mut parts = Vec::new();
        for (number, piece) in text.split('<').enumerate() {
            let rest = match piece.split_once('>') {
                Some((name, rest)) if number > 0 => {
                    parts.push(match name {
                        "event" => TemplatePart::Event,
                        "call" => TemplatePart::Call,
                        "server" => TemplatePart::Server,
                        "correlation" => TemplatePart::Correlation,
                        "recording" => TemplatePart::Recording,
                        "n" => TemplatePart::Number,
                        "ticks" => TemplatePart::Ticks,
                        other => unreachable!("no shape has <{other}>"),
                    });
                    rest
                }
                _ => piece,
            };
            if !rest.is_empty() {
                parts.push(TemplatePart::Text(rest.as_bytes().to_vec()));
            }
        }
        let mut template = Self { parts, bytes: 0 };
        let mut once = Vec::new();
        let name = EventName {
            run: super::RunId(0),
            call: 0,
            index: 0,
        };
        template.write(name, &mut once);
        template.bytes = once.len();
        template
    }

    /// About how long an event of it is.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the event.
    pub(super) fn write(&self, name: EventName, out: &mut Vec<u8>) {
        let ids = CallIds::new(name.run, name.call);
        for part in &self.parts {
            match part {
                TemplatePart::Text(text) => out.extend_from_slice(text),
                TemplatePart::Event => name.write(out),
                TemplatePart::Call => ids.connection(out),
                TemplatePart::Server => ids.server(out),
                TemplatePart::Correlation => ids.correlation(out),
                TemplatePart::Recording => ids.recording(out),
                TemplatePart::Number => write_decimal(out, u64::from(name.index) + 1, 1),
                // Seven digits of a second: the same for the same event in every run, and never earlier than the event before.
                TemplatePart::Ticks => write_decimal(out, u64::from(name.index) % 10_000_000, 7),
            }
        }
    }
}

fn filling(bytes: usize) -> String {
    FILLING.chars().cycle().take(bytes).collect()
}

/// Decimal with at least `width` digits.
fn write_decimal(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let start = out.len();
    while number > 0 || out.len() - start < width {
        out.push(b'0' + u8::try_from(number % 10).unwrap_or_default());
        number /= 10;
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RunId, shapes::Script};

    fn written(template: &Template, index: u32) -> String {
        let mut out = Vec::new();
        let name = EventName {
            run: RunId(1),
            call: 2,
            index,
        };
        template.write(name, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn every() -> impl Iterator<Item = (Generation, &'static EventShape)> {
        Generation::ALL.into_iter().flat_map(|generation| {
            let script = Script::of(generation);
            let all = script.first.iter().chain(script.middle).chain(script.last);
            all.map(move |shape| (generation, shape))
        })
    }

    #[test]
    fn every_event_is_json_of_the_size_that_was_asked_for() {
        for (generation, shape) in every() {
            for bytes in [1, 700, 5_000] {
                let template = Template::new(shape, generation, bytes);
                let text = written(&template, 0);
                let read: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert!(read["data"].is_object(), "{text}");
                let natural = Template::new(shape, generation, 0).bytes;
                let padding_costs = 20;
                assert!(
                    text.len() + padding_costs >= bytes && text.len() <= bytes.max(natural),
                    "{} {bytes}: {}",
                    shape.name,
                    text.len()
                );
                assert!(!text.contains('<'), "{text}");
                let found = EventName::find(text.as_bytes()).unwrap();
                assert_eq!((found.call, found.index), (2, 0));
            }
        }
    }

    #[test]
    fn numbers_grow_with_the_place_in_the_call() {
        let (generation, shape) = every()
            .find(|(_, shape)| shape.name == "ContinuousDtmfRecognitionToneReceived")
            .unwrap();
        let text = written(&Template::new(shape, generation, 0), 41);
        assert!(text.contains(r#""sequenceId":42,"#), "{text}");
        assert!(text.contains("T08:00:05.0000041+00:00"), "{text}");
    }
}
