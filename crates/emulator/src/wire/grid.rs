//! Events of the resource as Event Grid delivers them, in its own schema or as CloudEvents
//! (docs/src/reference/acs-events.md, "Event Grid events").
//!
//! The page and the SDK's models disagree about some members, and which of them the service sends is not known. Then
//! both are sent, so that a consumer of either finds its own.

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    super::{
        event::{GridHappened, GridNotice, Participant},
        identity::Identifier,
    },
    identifier::{IdentifierMember, KindFirst},
    rendered::{Rendered, kind_of, object, time_with_z},
};

/// The delivery schema of an Event Grid subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GridSchema {
    /// `EventGridSchema`.
    #[default]
    EventGrid,
    /// `CloudEventSchemaV1_0`.
    CloudEvents,
}

/// The Communication Services resource that events are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// `topic` of the Event Grid schema, `source` of CloudEvents.
    pub(super) topic: String,
}

impl Resource {
    /// `topic` of the Event Grid schema.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// From the immutable resource id. The emulator has no subscription, group or name: the id takes the place of the
    /// name.
    pub(crate) fn new(resource_id: &str) -> Self {
        Self {
            topic: format!(
                "/subscriptions/{NIL_GUID}/resourcegroups/emulator/providers/microsoft.communication/\
                 communicationservices/{resource_id}"
            ),
        }
    }
}

const NIL_GUID: &str = "00000000-0000-0000-0000-000000000000";

/// The user agent that the emulator gives each participant.
const USER_AGENT: &str = "hookswitch-emulator";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GridEvent<'a, D> {
    id: Uuid,
    topic: &'a str,
    subject: &'a str,
    data: D,
    event_type: &'a str,
    data_version: &'static str,
    metadata_version: &'static str,
    event_time: String,
}

#[derive(Serialize)]
struct CloudEvent<'a, D> {
    id: Uuid,
    source: &'a str,
    subject: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    time: String,
    specversion: &'static str,
    data: D,
}

#[expect(
    clippy::large_enum_variant,
    reason = "one is made, written out and forgotten at once"
)]
#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Data<'a> {
    IncomingCall {
        to: KindFirst,
        from: KindFirst,
        server_call_id: &'a str,
        caller_display_name: &'a str,
        incoming_call_context: &'a str,
        correlation_id: &'a str,
    },
    CallStarted {
        #[serde(flatten)]
        call: Call<'a>,
    },
    CallEnded {
        /// As the page has it.
        duration_of_call: f64,
        #[serde(flatten)]
        call: Call<'a>,
        /// As the models have it.
        call_duration_in_seconds: f64,
        reason: Reason,
    },
    Participant {
        user: Person,
        display_name: &'a str,
        participant_id: &'a str,
        /// As the page has it.
        endpoint_type: &'static str,
        #[serde(flatten)]
        call: Call<'a>,
        /// As the models have it.
        user_agent: &'static str,
    },
    Recording {
        recording_id: &'a str,
        storage_type: &'static str,
        recording_storage_info: StorageInfo<'a>,
        recording_start_time: String,
        recording_duration_ms: u64,
        recording_content_type: String,
        recording_channel_type: String,
        recording_format_type: String,
        session_end_reason: &'a str,
    },
}

/// What `CallStarted`, `CallEnded` and the participants' events have in common.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    started_by: Person,
    server_call_id: &'a str,
    group: Named<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<Named<'a>>,
    /// Not known where a participant joined or left.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_two_party: Option<bool>,
    correlation_id: &'a str,
    is_rooms_call: bool,
}

#[derive(Serialize)]
struct Named<'a> {
    id: &'a str,
}

/// The page shows the members of the identifier beside the role, the models wrap them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    raw_id: String,
    #[serde(flatten)]
    who: Option<IdentifierMember>,
    role: &'static str,
    communication_identifier: KindFirst,
}

impl Person {
    fn of(identifier: &Identifier) -> Self {
        Self {
            raw_id: identifier.raw_id(),
            who: IdentifierMember::of(identifier),
            role: "Attendee",
            communication_identifier: KindFirst::of(identifier),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reason {
    code: u32,
    sub_code: u32,
    phrase: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StorageInfo<'a> {
    recording_chunks: [Chunk<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    document_id: String,
    index: u32,
    end_reason: &'a str,
    content_location: String,
    metadata_location: String,
    delete_location: String,
}

/// Gives `notice` the form of the subscription's schema.
pub(crate) fn render_grid(
    notice: &GridNotice,
    id: Uuid,
    at: Timestamp,
    resource: &Resource,
    schema: GridSchema,
) -> Rendered {
    let (name, subject, data) = event_body(notice);
    let kind = kind_of(name);
    Rendered {
        id: id.to_string(),
        event: match schema {
            GridSchema::EventGrid => object(&GridEvent {
                id,
                topic: &resource.topic,
                subject: &subject,
                data,
                event_type: &kind,
                data_version: "1.0",
                metadata_version: "1",
                event_time: time_with_z(at),
            }),
            GridSchema::CloudEvents => object(&CloudEvent {
                id,
                source: &resource.topic,
                subject: &subject,
                kind: &kind,
                time: time_with_z(at),
                specversion: "1.0",
                data,
            }),
        },
        kind,
        last: matches!(notice.happened, GridHappened::CallEnded { .. }),
    }
}

/// Name, subject, and data.
fn event_body(notice: &GridNotice) -> (&'static str, String, Data<'_>) {
    let server_call = notice.server_call.as_str();
    match &notice.happened {
        GridHappened::IncomingCall {
            from,
            to,
            display_name,
            context_token,
        } => (
            "IncomingCall",
            format!("/caller/{}/recipient/{}", from.raw_id(), to.raw_id()),
            Data::IncomingCall {
                to: KindFirst::of(to),
                from: KindFirst::of(from),
                server_call_id: server_call,
                caller_display_name: display_name,
                incoming_call_context: context_token,
                correlation_id: &notice.correlation,
            },
        ),
        GridHappened::CallStarted {
            by,
            two_party,
            room,
        } => (
            "CallStarted",
            format!("call/{server_call}/startedBy/{}", by.raw_id()),
            Data::CallStarted {
                call: call(notice, by, room.as_deref(), Some(*two_party)),
            },
        ),
        GridHappened::CallEnded {
            started_by,
            two_party,
            room,
            duration_seconds,
            code,
            sub_code,
        } => (
            "CallEnded",
            format!("call/{server_call}"),
            Data::CallEnded {
                duration_of_call: *duration_seconds,
                call: call(notice, started_by, room.as_deref(), Some(*two_party)),
                call_duration_in_seconds: *duration_seconds,
                reason: Reason {
                    code: *code,
                    sub_code: *sub_code,
                    phrase: "",
                },
            },
        ),
        GridHappened::ParticipantAdded {
            started_by,
            user,
            display_name,
            room,
        } => (
            "CallParticipantAdded",
            subject_of_participant(server_call, user),
            participant(
                user,
                display_name,
                call(notice, started_by, room.as_deref(), None),
            ),
        ),
        GridHappened::ParticipantRemoved {
            started_by,
            user,
            display_name,
            room,
        } => (
            "CallParticipantRemoved",
            subject_of_participant(server_call, user),
            participant(
                user,
                display_name,
                call(notice, started_by, room.as_deref(), None),
            ),
        ),
        GridHappened::RecordingFileReady {
            recording,
            started,
            duration_ms,
            content,
            channel,
            format,
            end_reason,
        } => (
            "RecordingFileStatusUpdated",
            // The form of 2025 and later.
            format!(
                "/recording/call/{}/serverCallId/{server_call}/recordingId/{}",
                notice.correlation,
                recording.as_str()
            ),
            Data::Recording {
                recording_id: recording.as_str(),
                storage_type: "ACS",
                recording_storage_info: StorageInfo {
                    recording_chunks: [chunk(recording.as_str(), content, end_reason)],
                },
                recording_start_time: time_with_z(*started),
                recording_duration_ms: *duration_ms,
                recording_content_type: capitalised(content),
                recording_channel_type: capitalised(channel),
                recording_format_type: capitalised(format),
                session_end_reason: end_reason,
            },
        ),
    }
}

fn call<'a>(
    notice: &'a GridNotice,
    started_by: &Identifier,
    room: Option<&'a str>,
    is_two_party: Option<bool>,
) -> Call<'a> {
    Call {
        started_by: Person::of(started_by),
        server_call_id: &notice.server_call,
        // As published, also where the call has no group.
        group: Named { id: NIL_GUID },
        room: room.map(|id| Named { id }),
        is_two_party,
        correlation_id: &notice.correlation,
        is_rooms_call: room.is_some(),
    }
}

fn subject_of_participant(server_call: &str, user: &Participant) -> String {
    format!(
        "call/{server_call}/participant/{}",
        user.identifier.raw_id()
    )
}

fn participant<'a>(user: &'a Participant, display_name: &'a str, call: Call<'a>) -> Data<'a> {
    Data::Participant {
        user: Person::of(&user.identifier),
        display_name,
        participant_id: &user.participant_id,
        endpoint_type: USER_AGENT,
        call,
        user_agent: USER_AGENT,
    }
}

/// The one chunk of a recording. There is no file: the locations are in a domain that can never exist (RFC 2606), so
/// that a consumer that follows them reaches no server.
fn chunk<'a>(recording: &str, content: &str, end_reason: &'a str) -> Chunk<'a> {
    let digest = Sha256::digest(recording.as_bytes());
    let hex: String = digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let document_id = format!("0-emu-d1-{hex}");
    let place = format!("https://storage.emulator.invalid/v1/objects/{document_id}");
    let media = if content.eq_ignore_ascii_case("audio") {
        "audio"
    } else {
        "video"
    };
    Chunk {
        index: 0,
        end_reason,
        content_location: format!("{place}/content/{media}"),
        metadata_location: format!("{place}/content/acsmetadata"),
        delete_location: place,
        document_id,
    }
}

/// `audioVideo` of a request is `AudioVideo` of an event.
fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(letters)
        .collect()
}
