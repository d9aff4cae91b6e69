//! The world, call by call, without I/O.

mod calls;
mod endings;
mod media;
mod participants;
mod property;
mod recordings;

use std::time::Duration;

use super::{
    super::{
        event::{Generation, GridHappened, Happened, Recognized, Tone},
        identity::Identifier,
        scenario::Scenario,
    },
    *,
};

const CALLBACK: &str = "http://127.0.0.1:1/callback";

/// A world with the events that it reported.
struct Trial {
    world: World,
    calls: Vec<Notice>,
    grid: Vec<GridNotice>,
}

fn trial(scenario: &str) -> Trial {
    trial_with(scenario, 0.0)
}

/// `inactive_first`: the share of recordings that are reported before they start.
fn trial_with(scenario: &str, inactive_first: f64) -> Trial {
    let setup = Setup {
        scenario: Scenario::parse(scenario).expect("a scenario"),
        seed: 7,
        resource_id: "resource".to_owned(),
        epoch: jiff::Timestamp::UNIX_EPOCH,
        speed: 1.0,
        inactive_first,
    };
    Trial {
        world: World::new(setup),
        calls: Vec::new(),
        grid: Vec::new(),
    }
}

fn phone(number: &str) -> Identifier {
    Identifier::Phone {
        number: number.to_owned(),
    }
}

fn api(generation: Generation) -> Api {
    let version = match generation {
        Generation::Private => "2021-04-15-preview1",
        Generation::Public => "2021-08-30-preview",
        Generation::Ga => "2026-03-12",
    };
    Api {
        generation,
        version: version.to_owned(),
    }
}

fn create(generation: Generation, targets: &[&str]) -> Create {
    Create {
        api: api(generation),
        targets: targets.iter().map(|number| phone(number)).collect(),
        source: None,
        caller_id: Some("+15550100".to_owned()),
        display_name: None,
        callback: CALLBACK.to_owned(),
        context: Some("of the call".to_owned()),
        wants: Wants {
            participants: true,
            tones: true,
        },
        media: Media::default(),
    }
}

fn operation(context: &str) -> Operation {
    Operation {
        context: Some(context.to_owned()),
        callback: None,
    }
}

fn add(number: &str) -> Add {
    Add {
        participants: vec![phone(number)],
        timeout: None,
        operation: operation("add"),
    }
}

fn file(uri: &str) -> Source {
    Source::File {
        uri: uri.to_owned(),
    }
}

fn play(uri: &str) -> Play {
    Play {
        sources: vec![file(uri)],
        to: Vec::new(),
        repeat: false,
        interrupt: false,
        operation: operation(uri),
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

impl Trial {
    /// Lets time pass, up to the next plan and everything that follows within `passed`.
    fn wait(&mut self, passed: f64) -> &mut Self {
        let until = self.world.now + seconds(passed);
        self.world.advance(until);
        for told in self.world.take() {
            match told {
                QueuedNotice::Call(notice) => self.calls.push(notice),
                QueuedNotice::Grid(notice) => self.grid.push(notice),
            }
        }
        self
    }

    /// Names of the events since the last time, with the code of the result.
    fn heard(&mut self) -> Vec<String> {
        self.calls
            .drain(..)
            .map(|notice| {
                let name = format!("{:?}", notice.happened);
                let name = name
                    .split([' ', '{', '('])
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                match notice.result {
                    Some(result) if result.code != 200 => format!("{name} {}", result.code),
                    _ => name,
                }
            })
            .collect()
    }

    /// A connected GA call to `number`, with its first events taken.
    fn call(&mut self, number: &str) -> String {
        let id = self
            .world
            .create(create(Generation::Ga, &[number]))
            .expect("a call");
        self.wait(1.1);
        assert_eq!(
            self.world.call(&id).expect("it is there").state,
            "connected"
        );
        self.calls.clear();
        id
    }

    fn numbers(&mut self, id: &str) -> Vec<String> {
        self.world
            .participants(id)
            .expect("a live call")
            .iter()
            .map(|participant| participant.identifier.short())
            .filter(|who| who.starts_with('+'))
            .collect()
    }
}

fn status<T: std::fmt::Debug>(result: Result<T, ApiError>) -> u16 {
    result.expect_err("a refusal").status
}

fn recording(id: &str) -> StartRecording {
    StartRecording {
        api: api(Generation::Ga),
        of: Recorded::Connection(id.to_owned()),
        callback: Some("http://127.0.0.1:1/recording".to_owned()),
        content: None,
        channel: None,
        format: None,
        paused: false,
    }
}
