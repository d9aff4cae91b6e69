//! The output of `hookswitch emulate`: a line for each request and each delivery, in a colour of the call.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

use hookswitch_emulator::{
    Activity, AnsweredRequest, Attempt, DEFAULT_ACCESS_KEY, Emulator, Summary,
};

/// Colours that calls take in turn.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Yellow,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightRed,
];

/// How things are printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutputStyle {
    json: bool,
    colour: bool,
}

/// How clients authenticate. A key that the user gave is a secret, and so is not stored here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Nothing,
    DefaultKey,
    GivenKey,
}

impl Access {
    pub(super) fn of(key: Option<&str>) -> Self {
        match key {
            None => Self::Nothing,
            Some(DEFAULT_ACCESS_KEY) => Self::DefaultKey,
            Some(_) => Self::GivenKey,
        }
    }

    /// For the JSON output: a key that may be shown.
    fn key(self) -> Option<&'static str> {
        (self == Self::DefaultKey).then_some(DEFAULT_ACCESS_KEY)
    }

    fn text(self) -> String {
        match self {
            Self::Nothing => "no access key: authentication is off".to_owned(),
            Self::DefaultKey => format!("access key {DEFAULT_ACCESS_KEY}"),
            Self::GivenKey => "access key: the one that you gave".to_owned(),
        }
    }
}

impl OutputStyle {
    /// Colours on a terminal only, and not where `NO_COLOR` is set.
    pub(super) fn new(json: bool, terminal: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            colour: terminal && wanted,
        }
    }

    /// The address, and how a client authenticates.
    pub(super) fn start(
        &self,
        emulator: &Emulator,
        access: Access,
        resource_id: &str,
        seed: u64,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let http = format!("http://{}", emulator.address());
        let https = emulator
            .tls_address()
            .map(|address| format!("https://{address}"));
        if self.json {
            let line = json!({
                "what": "start", "http": http, "https": https, "accessKey": access.key(),
                "auth": access != Access::Nothing,
                "resourceId": resource_id, "seed": seed,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "the calling service is at {http}")?;
            if let Some(https) = https {
                writeln!(out, "and at {https}")?;
            }
            writeln!(out, "{}", access.text())?;
            writeln!(
                out,
                "tokens of callbacks are for {resource_id}; their OpenID document is {}/calling/.well-known/acsopenidconfiguration",
                emulator.url()
            )?;
            writeln!(out, "seed {seed}")?;
        }
        out.flush()
    }

    pub(super) fn item(&self, item: &Activity, out: &mut dyn Write) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *out, item)?;
            writeln!(out)?;
        } else {
            match item {
                Activity::Request(request) => self.request(request, out)?,
                Activity::Delivery(attempt) => self.delivery(attempt, out)?,
                Activity::Missed(missed) => writeln!(
                    out,
                    "{} more happened than could be printed: see /_emulator/callbacks",
                    missed.count
                )?,
            }
        }
        out.flush()
    }

    fn request(&self, request: &AnsweredRequest, out: &mut dyn Write) -> io::Result<()> {
        let style = self.style(if request.status < 400 {
            Style::new().bold()
        } else {
            AnsiColor::Red.on_default().bold()
        });
        writeln!(
            out,
            "{} {style}{} {} {}{style:#}",
            clock(request.time),
            request.method,
            request.path,
            request.status,
        )
    }

    fn delivery(&self, attempt: &Attempt, out: &mut dyn Write) -> io::Result<()> {
        let colour = usize::try_from(attempt.call)
            .ok()
            .and_then(|call| COLOURS.get(call % COLOURS.len()))
            .copied()
            .unwrap_or(AnsiColor::White);
        let style = self.style(if attempt.is_accepted() {
            colour.on_default()
        } else {
            AnsiColor::Red.on_default()
        });
        let who = match (attempt.event_grid, attempt.call) {
            (false, call) => format!("call {call}"),
            (true, 0) => "event grid".to_owned(),
            (true, call) => format!("event grid, call {call}"),
        };
        let types: Vec<_> = attempt
            .types
            .iter()
            .map(|kind| kind.rsplit('.').next().unwrap_or(kind))
            .collect();
        let answer = match (attempt.status, &attempt.error) {
            // A handshake is refused because of its answer's content.
            (Some(status), Some(error)) => format!("{status}, {error}"),
            (Some(status), None) => status.to_string(),
            (None, Some(error)) => error.clone(),
            (None, None) => "no answer".to_owned(),
        };
        let mut notes = attempt.misbehaviour.join(", ");
        if attempt.attempt > 1 {
            notes = format!("{notes} attempt {}", attempt.attempt);
        }
        if attempt.is_given_up() {
            notes.push_str(" given up");
        }
        let notes = match notes.trim() {
            "" => String::new(),
            notes => format!("  ({notes})"),
        };
        writeln!(
            out,
            "{} {style}{who} <- {} {answer} {} ms{notes}{style:#}",
            clock(attempt.time),
            types.join(" + "),
            attempt.milliseconds,
        )
    }

    pub(super) fn summary(&self, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
        if self.json {
            let mut line = json!(summary);
            if let Some(members) = line.as_object_mut() {
                members.insert("what".to_owned(), json!("summary"));
            }
            writeln!(out, "{line}")?;
        } else {
            let misbehaved: Vec<_> = summary
                .misbehaved
                .iter()
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            writeln!(
                out,
                "seed {}: {} calls, {} events in {} posts, {} accepted, {} given up, {} left; misbehaved: {}",
                summary.seed,
                summary.calls,
                summary.events,
                summary.posts,
                summary.accepted,
                summary.given_up,
                summary.left(),
                if misbehaved.is_empty() {
                    "not at all".to_owned()
                } else {
                    misbehaved.join(", ")
                },
            )?;
        }
        out.flush()
    }

    fn style(&self, style: Style) -> Style {
        if self.colour { style } else { Style::new() }
    }
}

fn clock(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system())
        .strftime("%H:%M:%S%.3f")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_given_is_not_shown() {
        let given = Access::of(Some("c2VjcmV0"));
        assert_eq!(given, Access::GivenKey);
        assert_eq!((given.key(), given.text().contains("c2Vj")), (None, false));
        let default = Access::of(Some(DEFAULT_ACCESS_KEY));
        assert_eq!(default.key(), Some(DEFAULT_ACCESS_KEY));
        assert_eq!(Access::of(None), Access::Nothing);
    }
}
