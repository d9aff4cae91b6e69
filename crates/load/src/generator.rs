//! What is sent: which events a call has, and the bytes of each callback. The same seed and options give the same bytes.

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::{
    form::{Grid, mapped_digest},
    generation::{Form, Generation},
    identity::{EventName, RunId},
    shapes::{EventShape, Script},
    template::Template,
};

/// The content of the traffic, without its schedule.
#[derive(Clone, Debug)]
pub struct Content {
    /// Calls.
    pub calls: u32,
    /// Events of each call.
    pub events: u32,
    /// Events in one callback.
    pub batch: u32,
    /// The generations that calls are of, at least one.
    pub generations: Vec<Generation>,
    /// Wanted size of an event.
    pub bytes: usize,
    /// Chance that a callback is sent twice, 0 to 1.
    pub duplicates: f64,
    /// The seed of all random choices.
    pub seed: u64,
    /// Marks the events of this run.
    pub run: RunId,
}

/// Templates of one generation: of the first event, of those in between, of the last.
struct Prepared {
    generation: Generation,
    first: Vec<Template>,
    middle: Vec<Template>,
    last: Vec<Template>,
}

/// Makes callbacks.
pub(super) struct Generator {
    content: Content,
    prepared: Vec<Prepared>,
}

/// One callback, and what its messages must be.
pub(super) struct Callback {
    pub(super) body: Bytes,
    pub(super) events: Vec<Made>,
}

/// What is kept of an event's bytes.
pub(super) struct Made {
    /// XXH3-128 of the bytes sent.
    pub(super) digest: u128,
    /// Digest of what a CloudEvent made of it must say; `None` where the event is already one.
    pub(super) mapped: Option<u128>,
}

impl Generator {
    pub(super) fn new(content: Content) -> Self {
        let prepared = content
            .generations
            .iter()
            .map(|generation| {
                let templates = |shapes: &[EventShape]| {
                    shapes
                        .iter()
                        .map(|shape| Template::new(shape, *generation, content.bytes))
                        .collect()
                };
                let script = Script::of(*generation);
                Prepared {
                    generation: *generation,
                    first: templates(script.first),
                    middle: templates(script.middle),
                    last: templates(script.last),
                }
            })
            .collect();
        Self { content, prepared }
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// The generation of a call.
    pub(super) fn generation(&self, call: u32) -> Generation {
        self.prepared_for(call).generation
    }

    fn prepared_for(&self, call: u32) -> &Prepared {
        let count = self.prepared.len().max(1) as u64;
        let chosen = self.drawn(b'g', call, 0) % count;
        usize::try_from(chosen)
            .ok()
            .and_then(|chosen| self.prepared.get(chosen))
            .expect("at least one generation was asked for")
    }

    /// Whether the callback that begins with this event is sent twice.
    pub(super) fn is_sent_twice(&self, call: u32, first: u32) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a chance: the last bits of 64 do not matter"
        )]
        let drawn = self.drawn(b'd', call, first) as f64 / u64::MAX as f64;
        drawn < self.content.duplicates
    }

    fn drawn(&self, what: u8, call: u32, index: u32) -> u64 {
        let [a, b, c, d] = call.to_be_bytes();
        let [e, f, g, h] = index.to_be_bytes();
        xxh3_64_with_seed(&[what, a, b, c, d, e, f, g, h], self.content.seed)
    }

    /// How many events the callback has that begins with this one.
    pub(super) fn batch_at(&self, first: u32) -> u32 {
        self.content
            .batch
            .min(self.content.events.saturating_sub(first))
    }

    /// The callback that begins with event `first` of `call`.
    pub(super) fn callback(&self, call: u32, first: u32) -> Callback {
        let prepared = self.prepared_for(call);
        let count = self.batch_at(first);
        let array = count > 1 || prepared.generation.always_array();
        let expected: usize = (first..first + count)
            .map(|index| self.template(prepared, index).bytes() + 8)
            .sum();
        let mut body = Vec::with_capacity(expected + 2);
        let mut events = Vec::with_capacity(count as usize);
        if array {
            body.push(b'[');
        }
        for index in first..first + count {
            if index > first {
                body.push(b',');
            }
            let start = body.len();
            let name = EventName {
                run: self.content.run,
                call,
                index,
            };
            self.template(prepared, index).write(name, &mut body);
            let event = body.get(start..).unwrap_or_default();
            events.push(Made {
                digest: xxh3_128(event),
                mapped: mapped(event, prepared.generation.form()),
            });
        }
        if array {
            body.push(b']');
        }
        Callback {
            body: body.into(),
            events,
        }
    }

    fn template<'p>(&self, prepared: &'p Prepared, index: u32) -> &'p Template {
        let of = |templates: &'p [Template], turn: u32| {
            let turn = turn as usize % templates.len().max(1);
            templates.get(turn).expect("every script has events")
        };
        if index == 0 {
            of(&prepared.first, 0)
        } else if index + 1 == self.content.events {
            of(&prepared.last, 0)
        } else {
            of(&prepared.middle, index - 1)
        }
    }
}

fn mapped(event: &[u8], form: Form) -> Option<u128> {
    if form == Form::CloudEvent {
        return None;
    }
    let grid: Grid<'_> = serde_json::from_slice(event).expect("our own templates are JSON");
    Some(mapped_digest(form, &grid.as_mapped()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content {
            calls: 50,
            events: 20,
            batch: 1,
            generations: Generation::ALL.to_vec(),
            bytes: 700,
            duplicates: 0.25,
            seed: 7,
            run: RunId::of_seed(7),
        }
    }

    fn bodies(content: &Content) -> Vec<Bytes> {
        let generator = Generator::new(content.clone());
        let firsts = (0..content.events).step_by(content.batch as usize);
        (0..content.calls)
            .flat_map(|call| firsts.clone().map(move |first| (call, first)))
            .map(|(call, first)| generator.callback(call, first).body)
            .collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes_and_another_one_does_not() {
        let first = content();
        assert_eq!(bodies(&first), bodies(&first));
        let second = Content {
            seed: 8,
            run: RunId::of_seed(8),
            ..content()
        };
        assert_ne!(bodies(&first), bodies(&second));
    }

    #[test]
    fn the_events_of_a_call_follow_each_other_and_all_generations_come() {
        let generator = Generator::new(content());
        let mut seen = std::collections::BTreeSet::new();
        for call in 0..50 {
            seen.insert(generator.generation(call));
            for index in 0..20 {
                let callback = generator.callback(call, index);
                let name = EventName::find(&callback.body).unwrap();
                assert_eq!((name.call, name.index), (call, index));
                assert_eq!(callback.events.len(), 1);
            }
        }
        assert_eq!(seen.len(), Generation::ALL.len());
    }

    #[test]
    fn a_batch_is_an_array_of_the_next_events_of_one_call() {
        let content = Content {
            batch: 8,
            ..content()
        };
        let generator = Generator::new(content.clone());
        let single = Generator::new(Content {
            batch: 1,
            ..content
        });
        for (first, count) in [(0, 8), (8, 8), (16, 4)] {
            let callback = generator.callback(3, first);
            let read: Vec<&serde_json::value::RawValue> =
                serde_json::from_slice(&callback.body).unwrap();
            assert_eq!(read.len(), count as usize);
            for (index, event) in (first..).zip(&read) {
                let name = EventName::find(event.get().as_bytes()).unwrap();
                assert_eq!((name.call, name.index), (3, index));
                // The same bytes as alone.
                let alone = single.callback(3, index).events.remove(0).digest;
                assert_eq!(xxh3_128(event.get().as_bytes()), alone);
            }
        }
    }

    #[test]
    fn about_the_wanted_share_is_sent_twice() {
        let generator = Generator::new(content());
        let twice = (0..50)
            .flat_map(|call| (0..20).map(move |first| (call, first)))
            .filter(|(call, first)| generator.is_sent_twice(*call, *first))
            .count();
        assert!((150..350).contains(&twice), "{twice} of 1000");
    }
}
