//! Our own payloads, one for each event that a call of some generation has. `<…>` stands for what `template` fills in:
//! `<event>` the id, `<call>` `<server>` `<correlation>` `<recording>` the ids of the call, `<n>` the place of the event in
//! it (from 1), `<pad>` filling up to the wanted size.
//!
//! Every event carries the key of its call itself, also where the service's own does so only in its `source`: what
//! order is promised over must not depend on events before it.

use super::generation::Generation;

/// An event: the last part of its type, the last part of its `source` or `subject` where the generation has one, and
/// its own members of `data`.
pub(super) struct EventShape {
    pub(super) name: &'static str,
    place: &'static str,
    members: &'static str,
}

/// The events of one call: the first, those in between in turn, the last.
pub(super) struct Script {
    pub(super) first: &'static [EventShape],
    pub(super) middle: &'static [EventShape],
    pub(super) last: &'static [EventShape],
}

impl Script {
    /// What a call of this generation sends.
    pub(super) const fn of(generation: Generation) -> Self {
        match generation {
            Generation::Private2021 => PRIVATE_2021,
            Generation::Public2021 => PUBLIC_2021,
            Generation::Late2021 => LATE_2021,
            Generation::Beta2022 => BETA_2022,
            Generation::Preview2023 => PREVIEW_2023,
            Generation::Ga => GA,
            Generation::EventGrid => EVENT_GRID,
        }
    }
}

const fn shape(name: &'static str, place: &'static str, members: &'static str) -> EventShape {
    EventShape {
        name,
        place,
        members,
    }
}

impl EventShape {
    /// The whole event.
    pub(super) fn text(&self, generation: Generation) -> String {
        let (name, place, members) = (self.name, self.place, self.members);
        match generation {
            Generation::Private2021 => format!(
                r#"{{"id":null,"topic":null,"subject":"callLeg/<call>/{place}","data":{{{members},"CallLegId":"<call>"}},"eventType":"Microsoft.Communication.{name}","eventTime":"2021-05-11T09:15:42.<ticks>Z","metadataVersion":null,"dataVersion":null}}"#
            ),
            Generation::Public2021 | Generation::Late2021 => {
                let date = match generation {
                    Generation::Public2021 => "2021-08-30",
                    _ => "2021-11-15",
                };
                cloud_event(name, &format!("/{place}"), members, date)
            }
            Generation::Beta2022 => {
                let members = format!("{members},{IDS}");
                cloud_event(name, "", &members, "2022-10-11")
            }
            Generation::Preview2023 => {
                let members = format!("{members},{IDS}");
                cloud_event(name, "", &members, "2023-08-09")
            }
            Generation::Ga => {
                let members = format!(
                    r#"{members},"version":"2025-05-15",{IDS},"publicEventType":"Microsoft.Communication.{name}""#
                );
                cloud_event(name, "", &members, "2025-06-20")
            }
            Generation::EventGrid => format!(
                r#"{{"id":"<event>","topic":"/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/load/providers/microsoft.communication/communicationservices/load","subject":"{place}","data":{{{members},"serverCallId":"<server>","correlationId":"<correlation>"}},"eventType":"Microsoft.Communication.{name}","dataVersion":"1.0","metadataVersion":"1","eventTime":"2025-02-03T10:20:30.<ticks>Z"}}"#
            ),
        }
    }
}

const IDS: &str =
    r#""callConnectionId":"<call>","serverCallId":"<server>","correlationId":"<correlation>""#;

fn cloud_event(name: &str, place: &str, members: &str, date: &str) -> String {
    format!(
        r#"{{"id":"<event>","source":"calling/callConnections/<call>{place}","type":"Microsoft.Communication.{name}","data":{{{members}}},"time":"{date}T08:00:05.<ticks>+00:00","specversion":"1.0","datacontenttype":"application/json","subject":"calling/callConnections/<call>{place}"}}"#
    )
}

const GA: Script = Script {
    first: &[ga("CallConnected", "")],
    middle: &[
        shape(
            "ParticipantsUpdated",
            "",
            r#""participants":[{"identifier":{"rawId":"4:+15550142","kind":"phoneNumber","phoneNumber":{"value":"+15550142"}},"isMuted":false,"isOnHold":false}],"sequenceNumber":<n>,"resultInformation":{"code":200,"subCode":0,"message":"Completed.<pad>"}"#,
        ),
        ga("PlayStarted", ""),
        ga("PlayCompleted", ""),
        shape(
            "ContinuousDtmfRecognitionToneReceived",
            "",
            r#""sequenceId":<n>,"tone":"five","operationContext":"menu","resultInformation":{"code":200,"subCode":0,"message":"Completed.<pad>"}"#,
        ),
        shape(
            "RecognizeCompleted",
            "",
            r#""recognitionType":"dtmf","dtmfResult":{"tones":["four","two"]},"operationContext":"menu","resultInformation":{"code":200,"subCode":8533,"message":"Completed.<pad>"}"#,
        ),
        shape(
            "AddParticipantSucceeded",
            "",
            r#""participant":{"rawId":"4:+15550123","kind":"phoneNumber","phoneNumber":{"value":"+15550123"}},"operationContext":"invite","resultInformation":{"code":200,"subCode":0,"message":"Completed.<pad>"}"#,
        ),
        shape(
            "RecordingStateChanged",
            "",
            r#""recordingId":"<recording>","state":"active","startDateTime":"2025-06-20T08:00:04.0000000+00:00","recordingKind":"azureCommunicationServices","resultInformation":{"code":200,"subCode":0,"message":"Completed.<pad>"}"#,
        ),
        ga("SendDtmfTonesCompleted", ""),
        shape(
            "PlayFailed",
            "",
            r#""failedPlaySourceIndex":0,"operationContext":"menu","resultInformation":{"code":400,"subCode":8536,"message":"Failed.<pad>"}"#,
        ),
        shape(
            "RemoveParticipantSucceeded",
            "",
            r#""participant":{"rawId":"4:+15550123","kind":"phoneNumber","phoneNumber":{"value":"+15550123"}},"operationContext":"invite","resultInformation":{"code":200,"subCode":0,"message":"Completed.<pad>"}"#,
        ),
    ],
    last: &[ga("CallDisconnected", "")],
};

/// An event of ga that says how something went and nothing else.
const fn ga(name: &'static str, place: &'static str) -> EventShape {
    shape(
        name,
        place,
        r#""operationContext":"menu","resultInformation":{"code":200,"subCode":0,"message":"Completed.<pad>"}"#,
    )
}

const PREVIEW_2023: Script = Script {
    first: &[dialog("DialogStarted")],
    middle: &[
        dialog("DialogConsent"),
        dialog("DialogLanguageChange"),
        dialog("DialogSensitivityUpdate"),
        dialog("DialogUpdated"),
        dialog("DialogTransfer"),
        dialog("DialogFailed"),
        dialog("DialogHangup"),
    ],
    last: &[dialog("DialogCompleted")],
};

const fn dialog(name: &'static str) -> EventShape {
    shape(
        name,
        "",
        r#""dialogInputType":"powerVirtualAgents","dialogId":"<recording>","operationContext":"survey","resultInformation":{"code":200,"subCode":0,"message":"Completed.<pad>"}"#,
    )
}

const BETA_2022: Script = Script {
    first: &[beta("CallConnected")],
    middle: &[
        shape(
            "ParticipantsUpdated",
            "",
            r#""participants":[{"rawId":"4:+15550107","kind":"phoneNumber","phoneNumber":{"value":"+15550107"}}]"#,
        ),
        shape(
            "ToneReceived",
            "",
            r#""toneInfo":{"sequenceId":<n>,"tone":"star"}"#,
        ),
        beta("PlayCompleted"),
        beta("PlayFailed"),
        shape(
            "RecognizeCompleted",
            "",
            r#""operationContext":"survey","resultInformation":{"code":200,"subCode":0,"message":"Completed.<pad>"},"recognitionType":"dtmf","collectTonesResult":{"tones":["one","pound"]}"#,
        ),
        shape(
            "AddParticipantsSucceeded",
            "",
            r#""operationContext":"invite","resultInformation":{"code":200,"subCode":0,"message":"Completed.<pad>"},"participants":[{"rawId":"4:+15550111","kind":"phoneNumber","phoneNumber":{"value":"+15550111"}}]"#,
        ),
        shape(
            "RecordingStateChanged",
            "",
            r#""recordingId":"<recording>","state":"active","startDateTime":"2022-10-11T08:00:04.0000000+00:00""#,
        ),
        beta("CallTransferAccepted"),
    ],
    last: &[beta("CallDisconnected")],
};

const fn beta(name: &'static str) -> EventShape {
    shape(
        name,
        "",
        r#""operationContext":"survey","resultInformation":{"code":200,"subCode":0,"message":"Completed.<pad>"}"#,
    )
}

const LATE_2021: Script = Script {
    first: &[late("connected")],
    middle: &[
        late("connected"),
        shape(
            "CallRecordingStateChanged",
            "callRecordingState",
            r#""recordingId":"<recording>","callRecordingState":"active","startDateTime":"2021-11-15T08:00:04.1234567+01:00","callLocator":{"serverCallId":"<server>","kind":"serverCallLocator"}"#,
        ),
    ],
    last: &[late("disconnected")],
};

const fn late(state: &'static str) -> EventShape {
    shape(
        "CallConnectionStateChanged",
        "callState",
        match state.as_bytes() {
            b"connected" => {
                r#""callLocator":{"serverCallId":"<server>","kind":"serverCallLocator"},"callConnectionId":"<call>","callConnectionState":"connected""#
            }
            _ => {
                r#""callLocator":{"serverCallId":"<server>","kind":"serverCallLocator"},"callConnectionId":"<call>","callConnectionState":"disconnected""#
            }
        },
    )
}

const PUBLIC_2021: Script = Script {
    first: &[shape(
        "CallConnectionStateChanged",
        "callState",
        r#""serverCallId":"<server>","callConnectionId":"<call>","callConnectionState":"connected""#,
    )],
    middle: &[
        shape(
            "ParticipantsUpdated",
            "participantsUpdated",
            r#""callConnectionId":"<call>","participants":[{"identifier":{"rawId":"4:+15550142","communicationUser":null,"phoneNumber":{"value":"+15550142"},"microsoftTeamsUser":null},"participantId":"1c54a50d-fd31-5308-9f91-e488c4296612","isMuted":false}]"#,
        ),
        shape(
            "DtmfReceived",
            "dtmfReceived",
            r#""toneInfo":{"sequenceId":<n>,"tone":"tone7"},"callConnectionId":"<call>""#,
        ),
        shape(
            "PlayAudioResult",
            "playAudioResult",
            r#""resultInfo":{"code":200,"subcode":0,"message":"Completed.<pad>"},"operationContext":"greeting","status":"completed""#,
        ),
        shape(
            "ToneReceived",
            "toneReceived",
            r#""toneInfo":{"sequenceId":<n>,"tone":"pound"},"callConnectionId":"<call>""#,
        ),
        shape(
            "AddParticipantResult",
            "addParticipantResult",
            r#""resultInfo":{"code":200,"subcode":0,"message":"Completed.<pad>"},"operationContext":"invite","status":"completed""#,
        ),
        shape(
            "CallRecordingStateChanged",
            "callRecordingState",
            r#""recordingId":"<recording>","state":"active","startDateTime":"2021-08-30T10:00:04.1234567+02:00","serverCallId":"<server>""#,
        ),
    ],
    last: &[shape(
        "CallConnectionStateChanged",
        "callState",
        r#""serverCallId":null,"callConnectionId":"<call>","callConnectionState":"disconnected""#,
    )],
};

/// Most of these have neither an id nor a free text, so our id is a member of its own: the schemas are open.
const PRIVATE_2021: Script = Script {
    first: &[shape(
        "CallLegStateChanged",
        "callState",
        r#""LoadEvent":"<event>","ConversationId":"<server>","CallState":"Established""#,
    )],
    middle: &[
        shape(
            "DtmfReceived",
            "dtmf",
            r#""LoadEvent":"<event>","ToneInfo":{"SequenceId":<n>,"Tone":"Pound"}"#,
        ),
        shape(
            "PlayAudioResult",
            "playAudio",
            r#""ResultInfo":{"Code":400,"Subcode":8508,"Message":"Action failed, the operation was cancelled.<pad>"},"OperationContext":"<event>","Status":"Completed""#,
        ),
        shape(
            "InviteParticipantResult",
            "inviteParticipantResult",
            r#""ResultInfo":null,"OperationContext":"<event>","Status":"Completed","Participants":[{"RawId":"8:acs:<recording>","CommunicationUser":{"Id":"8:acs:<recording>"},"PhoneNumber":null,"MicrosoftTeamsUser":null}]"#,
        ),
        shape(
            "ParticipantsUpdated",
            "participantsUpdated",
            r#""Participants":[{"Identifier":{"RawId":"8:acs:<recording>","CommunicationUser":{"Id":"8:acs:<recording>"},"PhoneNumber":null,"MicrosoftTeamsUser":null},"ParticipantId":"<event>","IsMuted":false}]"#,
        ),
        shape(
            "CallRecordingStateChanged",
            "callRecordingState",
            r#""LoadEvent":"<event>","RecordingId":"<recording>","ConversationId":"<server>","State":"Active","StartDateTime":"2021-05-11T09:15:40Z""#,
        ),
    ],
    last: &[shape(
        "CallLegStateChanged",
        "callState",
        r#""LoadEvent":"<event>","ConversationId":"<server>","CallState":"Terminated""#,
    )],
};

/// The call of Event Grid's events is the server call.
const EVENT_GRID: Script = Script {
    first: &[shape(
        "IncomingCall",
        "/caller/4:+15550102/recipient/4:+15550101",
        r#""to":{"rawId":"4:+15550101","kind":"phoneNumber","phoneNumber":{"value":"+15550101"}},"from":{"rawId":"4:+15550102","kind":"phoneNumber","phoneNumber":{"value":"+15550102"}},"callerDisplayName":"Contoso<pad>","incomingCallContext":"invented""#,
    )],
    middle: &[
        shape(
            "CallStarted",
            "call/<server>/startedBy/8:acs:<recording>",
            r#""startedBy":{"rawId":"8:acs:<recording>","kind":"communicationUser","communicationUser":{"id":"8:acs:<recording>"},"role":"Organizer"},"isTwoParty":false,"isRoomsCall":false"#,
        ),
        shape(
            "CallParticipantAdded",
            "call/<server>/participant/8:acs:<recording>",
            r#""startedBy":{"rawId":"8:acs:<recording>","kind":"communicationUser","communicationUser":{"id":"8:acs:<recording>"},"role":"Organizer"},"isTwoParty":false,"isRoomsCall":false,"user":{"rawId":"8:acs:<recording>","kind":"communicationUser","communicationUser":{"id":"8:acs:<recording>"},"role":"Attendee"},"displayName":"Agent","participantId":"<recording>","endpointType":"load""#,
        ),
        shape(
            "CallParticipantRemoved",
            "call/<server>/participant/8:acs:<recording>",
            r#""startedBy":{"rawId":"8:acs:<recording>","kind":"communicationUser","communicationUser":{"id":"8:acs:<recording>"},"role":"Organizer"},"isTwoParty":false,"isRoomsCall":false,"user":{"rawId":"8:acs:<recording>","kind":"communicationUser","communicationUser":{"id":"8:acs:<recording>"},"role":"Attendee"},"displayName":"Agent","participantId":"<recording>","endpointType":"load""#,
        ),
    ],
    last: &[shape(
        "CallEnded",
        "call/<server>",
        r#""startedBy":{"rawId":"8:acs:<recording>","kind":"communicationUser","communicationUser":{"id":"8:acs:<recording>"},"role":"Organizer"},"isTwoParty":false,"isRoomsCall":false,"durationOfCall":61.5"#,
    )],
};
