//! Why a callback's body is not a list of events, and the answer to the sender.

use serde::Serialize;

use crate::event::{Fault, Malformed};

/// Maximum number of faults shown for a callback without any recognised envelope: a batch of thousands must not be
/// answered with thousands.
const FAULTS_SHOWN: usize = 32;

/// Header values are cut to this length in answers.
const HEADER_SHOWN: usize = 100;

/// Why a callback's body is not a list of events. [`DecodeError::status`] is the status of the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// 415: the body is compressed; nothing is decompressed before the sender is trusted.
    #[error("content-encoding {encoding:?} is not supported: send the body without it")]
    ContentEncoding {
        /// The header's value, cut.
        encoding: String,
    },
    /// 415: another media type, and not JSON; or a charset that is not UTF-8.
    #[error(
        "content-type {media_type:?} is not supported: send application/json, application/cloudevents+json or application/cloudevents-batch+json in UTF-8"
    )]
    MediaType {
        /// The header's value, cut.
        media_type: String,
    },
    /// 400: not JSON as required.
    #[error("body is not valid JSON, at byte {offset}: {problem}")]
    Json {
        /// Where, in bytes from the start of the body.
        offset: usize,
        problem: JsonProblem,
    },
    /// 400: `[]`.
    #[error("body is an empty array: send at least one event")]
    EmptyArray,
    /// 413: more elements than `server.batch_limit`.
    #[error("body holds more than the {limit} events that one callback may")]
    TooManyEvents { limit: usize },
    /// 400: no element has a recognisable envelope.
    #[error("no element of the body has a recognisable envelope")]
    NoEnvelope {
        /// The first faults, by element.
        faults: Vec<DecodeFault>,
    },
}

/// What is wrong with a text that should be JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonProblem {
    /// Nothing but whitespace.
    #[error("the body is empty")]
    Empty,
    /// A byte order mark of another encoding than UTF-8, whose mark is skipped (RFC 8259, 8.1).
    #[error("the body begins with the byte order mark of {0}: send UTF-8")]
    Encoding(&'static str),
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Two members of one object have the same name; the position is where the second name begins.
    #[error("a member name occurs twice in one object")]
    DuplicateName,
    /// Nested too deeply; the position is the bracket that opens one level too many.
    #[error("nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    /// A number that no double can hold.
    #[error("number out of range")]
    NumberOutOfRange,
    /// Half of a surrogate pair in a `\u` escape.
    #[error("lone surrogate in a \\u escape")]
    LoneSurrogate,
    /// Anything else that is not JSON.
    #[error("{0}")]
    Syntax(String),
}

/// One entry of the answer's `errors` list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecodeFault {
    /// Which element of the body, from 0; absent for the body as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// Byte position in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
    /// The location in the element, and the fault.
    #[serde(flatten)]
    pub fault: Fault,
}

impl DecodeError {
    pub(super) fn content_encoding(encoding: &str) -> Self {
        Self::ContentEncoding {
            encoding: cut(encoding),
        }
    }

    pub(super) fn media_type(media_type: Option<&str>) -> Self {
        Self::MediaType {
            media_type: cut(media_type.unwrap_or_default()),
        }
    }

    pub(super) fn no_envelope(elements: impl Iterator<Item = Malformed>) -> Self {
        let faults = elements
            .enumerate()
            .flat_map(|(index, malformed)| {
                malformed.faults.into_iter().map(move |fault| DecodeFault {
                    index: Some(index),
                    offset: None,
                    fault,
                })
            })
            .take(FAULTS_SHOWN)
            .collect();
        Self::NoEnvelope { faults }
    }

    /// Moves the position by `bytes`, which were skipped before the text.
    pub(super) fn moved_by(self, bytes: usize) -> Self {
        match self {
            Self::Json { offset, problem } => Self::Json {
                offset: offset + bytes,
                problem,
            },
            other => other,
        }
    }

    /// The HTTP status of the answer: 400, 413 or 415.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Json { .. } | Self::EmptyArray | Self::NoEnvelope { .. } => 400,
            Self::TooManyEvents { .. } => 413,
            Self::ContentEncoding { .. } | Self::MediaType { .. } => 415,
        }
    }

    /// The position in the body, where the error has one.
    #[must_use]
    pub const fn offset(&self) -> Option<usize> {
        match self {
            Self::Json { offset, .. } => Some(*offset),
            _ => None,
        }
    }

    /// The answer's `errors` list. Never a value of the body.
    #[must_use]
    pub fn errors(&self) -> Vec<DecodeFault> {
        match self {
            Self::NoEnvelope { faults } => faults.clone(),
            Self::Json { offset, problem } => vec![DecodeFault {
                index: None,
                offset: Some(*offset),
                fault: Fault::new("", problem.to_string()),
            }],
            _ => Vec::new(),
        }
    }
}

impl JsonProblem {
    /// Classifies the errors of `serde_json` that are not syntax by their messages: it offers no other way to tell them
    /// apart. A test compares the messages with the library.
    pub(super) fn of(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let message = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(message, _)| message);
        match message {
            "number out of range" => Self::NumberOutOfRange,
            "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
                Self::LoneSurrogate
            }
            other => Self::Syntax(other.to_owned()),
        }
    }

    /// True for a body that no reader would call JSON.
    pub(super) const fn is_no_json_at_all(&self) -> bool {
        match self {
            Self::Empty | Self::Encoding(_) | Self::NotUtf8 | Self::Syntax(_) => true,
            Self::DuplicateName
            | Self::TooDeep { .. }
            | Self::NumberOutOfRange
            | Self::LoneSurrogate => false,
        }
    }
}

fn cut(value: &str) -> String {
    value.chars().take(HEADER_SHOWN).collect()
}
