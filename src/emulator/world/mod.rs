//! The calls, and what happens to them: a state machine without I/O.

mod request;

pub(crate) use self::request::{
    Add, Answer, Api, Choice, Connect, Create, DtmfOptions, Input, Media, Operation, Place, Play,
    Recognize, Recorded, Source, StartRecording, Subscription, Transfer, Wants,
};
