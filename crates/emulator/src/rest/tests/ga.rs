use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::rest::ga::ENDPOINTS;
use crate::rest::{
    endpoint,
    test_support::{Listener, every_member_is_needed, play, step},
};

const VERSION: &str = "2026-03-12";

/// Every answer of a call that has nothing special, with a phone called.
const PROPERTIES: &[&str] = &[
    "callConnectionId",
    "serverCallId",
    "correlationId",
    "targets",
    "callConnectionState",
    "callbackUri",
    "sourceCallerIdNumber",
    "source",
];

const CONTEXT: &[&str] = &["operationContext"];

fn phone() -> Value {
    json!({"rawId": "4:+15550100", "phoneNumber": {"value": "+15550100"}})
}

fn friend() -> Value {
    json!({"kind": "communicationUser", "communicationUser": {"id": "8:acs:r_friend"}})
}

fn create(target: Value) -> Value {
    json!({
        "targets": [target], "callbackUri": "http://127.0.0.1:1/cb",
        "sourceCallerIdNumber": {"value": "+15550199"},
    })
}

#[test]
fn every_operation_is_answered_as_documented() {
    let listener = Listener::open();
    let mut kept = BTreeMap::new();
    let about_phone = || json!({"targetParticipant": phone(), "operationContext": "c"});
    let file = || json!([{"kind": "file", "file": {"uri": "https://example.com/a.wav"}}]);
    let mut with_media = create(phone());
    with_media["mediaStreamingOptions"] =
        json!({"transportType": "websocket", "audioChannelType": "mixed"});
    with_media["transcriptionOptions"] = json!({"transportType": "websocket", "locale": "en-US"});
    with_media["sourceDisplayName"] = json!("Shop");
    let with_media_members = &[
        "callConnectionId",
        "serverCallId",
        "correlationId",
        "targets",
        "callConnectionState",
        "callbackUri",
        "sourceCallerIdNumber",
        "sourceDisplayName",
        "source",
        "mediaStreamingSubscription",
        "transcriptionSubscription",
    ];
    let used = play(
        &listener,
        &mut kept,
        ENDPOINTS,
        Some(VERSION),
        vec![
            step("POST /calling/callConnections", with_media, 201, with_media_members)
                .keep("id", "callConnectionId"),
            step("GET /calling/callConnections/{id}", Value::Null, 200, with_media_members)
                .keep("server", "serverCallId"),
            step("GET /calling/callConnections/{id}/participants", Value::Null, 200, &["value"]),
            step(
                "GET /calling/callConnections/{id}/participants/4%3A%2B15550100",
                Value::Null, 200, &["identifier", "isMuted", "isOnHold"],
            ),
            step(
                "GET /calling/callConnections/{id}/participants/4:+15550100",
                Value::Null, 200, &["identifier", "isMuted", "isOnHold"],
            ),
            step(
                "POST /calling/callConnections/{id}/participants:add",
                json!({"participantToAdd": friend(), "operationContext": "c", "invitationTimeoutInSeconds": 180}),
                202, &["participant", "invitationId", "operationContext"],
            )
            .keep("done", "invitationId"),
            step(
                "POST /calling/callConnections/{id}/participants:mute",
                json!({"targetParticipants": [friend()], "operationContext": "c"}), 200, CONTEXT,
            ),
            step(
                "POST /calling/callConnections/{id}/participants:remove",
                json!({"participantToRemove": friend()}), 202, &[],
            ),
            step(
                "POST /calling/callConnections/{id}:play",
                json!({"playSources": file(), "playOptions": {"loop": false}}), 202, &[],
            ),
            step(
                "POST /calling/callConnections/{id}:recognize",
                json!({
                    "recognizeInputType": "dtmf", "playPrompt": file()[0],
                    "recognizeOptions": {"targetParticipant": phone(), "dtmfOptions": {"maxTonesToCollect": 3, "stopTones": ["pound"]}},
                }),
                202, &[],
            ),
            step(
                "POST /calling/callConnections/{id}:recognize",
                json!({
                    "recognizeInputType": "choices", "interruptCallMediaOperation": true,
                    "playPrompts": [{"kind": "text", "text": {"text": "yes?"}}, {"kind": "ssml", "ssml": {"ssmlText": "<speak/>"}}],
                    "recognizeOptions": {"targetParticipant": phone(), "choices": [{"label": "yes", "phrases": ["yes"], "tone": "one"}]},
                }),
                202, &[],
            ),
            step("POST /calling/callConnections/{id}:cancelAllMediaOperations", Value::Null, 202, &[]),
            step("POST /calling/callConnections/{id}:startContinuousDtmfRecognition", about_phone(), 200, &[]),
            step("POST /calling/callConnections/{id}:stopContinuousDtmfRecognition", about_phone(), 200, &[]),
            step(
                "POST /calling/callConnections/{id}:sendDtmfTones",
                json!({"tones": ["one", "asterisk"], "targetParticipant": phone(), "operationContext": "c"}),
                202, CONTEXT,
            ),
            step("POST /calling/callConnections/{id}:hold", about_phone(), 200, &[]),
            step("POST /calling/callConnections/{id}:unhold", about_phone(), 200, &[]),
            step("POST /calling/callConnections/{id}:startMediaStreaming", Value::Null, 202, &[]),
            step("POST /calling/callConnections/{id}:stopMediaStreaming", json!({}), 202, &[]),
            step("POST /calling/callConnections/{id}:startTranscription", json!({"locale": "de-DE"}), 202, &[]),
            step("POST /calling/callConnections/{id}:updateTranscription", json!({"locale": "en-GB"}), 202, &[]),
            step("POST /calling/callConnections/{id}:stopTranscription", json!({}), 202, &[]),
            step(
                "POST /calling/recordings",
                json!({"callLocator": {"kind": "serverCallLocator", "serverCallId": "{server}"}}),
                200, &["recordingId", "recordingState", "recordingKind"],
            )
            .keep("recording", "recordingId"),
            step("POST /calling/recordings/{recording}:pause", Value::Null, 202, &[]),
            step("GET /calling/recordings/{recording}", Value::Null, 200, &["recordingId", "recordingState", "recordingKind"]),
            step("POST /calling/recordings/{recording}:resume", Value::Null, 202, &[]),
            step("DELETE /calling/recordings/{recording}", Value::Null, 204, &[]),
            step("GET /calling/recordings/{recording}", Value::Null, 404, &["error"]),
            // Another call, whose participant comes over.
            step("POST /calling/callConnections", create(friend()), 201, PROPERTIES)
                .keep("other", "callConnectionId"),
            step(
                "POST /calling/callConnections/{id}/participants:moveHere",
                json!({"targetParticipants": [friend()], "fromCall": "{other}"}),
                202, &["participants", "fromCall"],
            ),
            step(
                "POST /calling/callConnections:connect",
                json!({"callLocator": {"groupCallId": "e2b2a5e4-4f3b-4ea4-a3f6-6a1a6d2f0f5e"}, "callbackUri": "https://example.com/cb"}),
                200, &["callConnectionId", "serverCallId", "correlationId", "targets", "callConnectionState", "callbackUri", "source"],
            )
            .keep("group", "callConnectionId"),
            step(
                "POST /calling/callConnections:connect",
                json!({"callLocator": {"serverCallId": "bm9uZQ=="}, "callbackUri": "https://example.com/cb"}),
                200, &["callConnectionId", "callConnectionState", "callbackUri", "targets"],
            ),
            step("DELETE /calling/callConnections/{group}", Value::Null, 204, &[]),
            step("DELETE /calling/callConnections/{group}", Value::Null, 404, &["error"]),
            step(
                "POST /calling/callConnections/{id}:transferToParticipant",
                json!({"targetParticipant": {"rawId": "8:acs:r_third"}, "transferee": phone(), "operationContext": "c"}),
                202, CONTEXT,
            ),
            step("POST /calling/callConnections/{id}:terminate", Value::Null, 204, &[]),
            step("GET /calling/callConnections/{id}", Value::Null, 404, &["error"]),
            // Incoming calls.
            step("POST /_emulator/incoming", json!({"from": "+15550100", "to": "+15550199"}), 201, &["incomingCallContext"])
                .keep("context", "incomingCallContext"),
            step(
                "POST /calling/callConnections:answer",
                json!({"incomingCallContext": "{context}", "callbackUri": "https://example.com/cb", "answeredBy": {"id": "8:acs:r_me"}}),
                200,
                &["callConnectionId", "serverCallId", "correlationId", "targets", "callConnectionState", "callbackUri", "source", "answeredBy", "answeredFor"],
            ),
            step("POST /_emulator/incoming", json!({"from": "8:acs:r_you", "to": "8:acs:r_me", "displayName": "You"}), 201, &["incomingCallContext"])
                .keep("context", "incomingCallContext"),
            step(
                "POST /calling/callConnections:redirect",
                json!({"incomingCallContext": "{context}", "target": friend()}), 204, &[],
            ),
            step("POST /_emulator/incoming", json!({"from": "+15550100", "to": "8:acs:r_me"}), 201, &["incomingCallContext"])
                .keep("context", "incomingCallContext"),
            step(
                "POST /calling/callConnections:reject",
                json!({"incomingCallContext": "{context}", "callRejectReason": "busy"}), 204, &[],
            ),
        ],
    );
    let mut missing = endpoint::names(ENDPOINTS);
    missing.retain(|name| !used.contains(name));
    // Between two steps ten seconds pass: an invitation that is still open has its own test.
    assert_eq!(
        missing.into_iter().collect::<Vec<_>>(),
        ["POST /callConnections/{id}/participants:cancelAddParticipant"]
    );
}

#[test]
fn an_invitation_is_cancelled_while_it_rings() {
    let listener = Listener::open();
    let uri = |path: &str| format!("/calling/callConnections{path}?api-version={VERSION}");
    let call = listener.send("POST", &uri(""), &create(phone()));
    let id = call.body["callConnectionId"].as_str().expect("an id");
    listener.wait();
    let added = listener.send(
        "POST",
        &uri(&format!("/{id}/participants:add")),
        &json!({"participantToAdd": friend()}),
    );
    let invitation = &added.body["invitationId"];
    let cancelled = listener.send(
        "POST",
        &uri(&format!("/{id}/participants:cancelAddParticipant")),
        &json!({"invitationId": invitation, "operationContext": "c"}),
    );
    assert_eq!(cancelled.status, 202, "{}", cancelled.body);
    assert_eq!(
        cancelled.body,
        json!({"invitationId": invitation, "operationContext": "c"})
    );
}

#[test]
fn identifiers_come_back_with_kind_and_raw_id() {
    let listener = Listener::open();
    let uri = format!("/calling/callConnections?api-version={VERSION}");
    let call = listener.send("POST", &uri, &create(phone())).body;
    let expected = json!({"kind": "phoneNumber", "rawId": "4:+15550100", "phoneNumber": {"value": "+15550100"}});
    assert_eq!(call["targets"], json!([expected]));
    assert_eq!(call["callConnectionState"], "connecting");
    assert_eq!(call["sourceCallerIdNumber"], json!({"value": "+15550199"}));
    listener.wait();
    let id = call["callConnectionId"].as_str().expect("an id");
    let all = listener.send(
        "GET",
        &format!("/calling/callConnections/{id}/participants?api-version=2023-03-06"),
        &Value::Null,
    );
    let all = all.body["value"].as_array().expect("an array");
    assert_eq!(all.len(), 2);
    assert!(all.contains(&json!({"identifier": expected, "isMuted": false, "isOnHold": false})));
}

#[test]
fn every_required_member_is_asked_for() {
    let listener = Listener::open();
    let on_call =
        |action: &str| format!("/calling/callConnections/none{action}?api-version={VERSION}");
    let calls = |action: &str| format!("/calling/callConnections{action}?api-version={VERSION}");
    let callback = "https://example.com/cb";
    let target = json!({"targetParticipant": phone()});
    let mut whole = create(phone());
    whole["mediaStreamingOptions"] =
        json!({"transportType": "websocket", "audioChannelType": "mixed"});
    whole["transcriptionOptions"] = json!({"transportType": "websocket", "locale": "en-US"});
    for (uri, body, members) in [
        (
            calls(""),
            whole,
            &[
                "targets",
                "callbackUri",
                "sourceCallerIdNumber.value",
                "mediaStreamingOptions.transportType",
                "mediaStreamingOptions.audioChannelType",
                "transcriptionOptions.transportType",
                "transcriptionOptions.locale",
            ][..],
        ),
        (
            calls(":answer"),
            json!({"incomingCallContext": "none", "callbackUri": callback, "answeredBy": {"id": "8:acs:1"}}),
            &["incomingCallContext", "callbackUri", "answeredBy.id"],
        ),
        (
            calls(":connect"),
            json!({"callLocator": {"kind": "roomCallLocator", "roomId": "99"}, "callbackUri": callback}),
            &["callLocator", "callbackUri", "callLocator.roomId"],
        ),
        (
            calls(":connect"),
            json!({"callLocator": {"kind": "groupCallLocator", "groupCallId": "99"}, "callbackUri": callback}),
            &["callLocator.groupCallId"],
        ),
        (
            calls(":redirect"),
            json!({"incomingCallContext": "none", "target": phone()}),
            &["incomingCallContext", "target"],
        ),
        (
            calls(":reject"),
            json!({"incomingCallContext": "none"}),
            &["incomingCallContext"],
        ),
        (
            on_call(":transferToParticipant"),
            target.clone(),
            &["targetParticipant"],
        ),
        (
            on_call("/participants:add"),
            json!({"participantToAdd": phone()}),
            &["participantToAdd"],
        ),
        (
            on_call("/participants:remove"),
            json!({"participantToRemove": phone()}),
            &["participantToRemove"],
        ),
        (
            on_call("/participants:mute"),
            json!({"targetParticipants": [phone()]}),
            &["targetParticipants"],
        ),
        (
            on_call("/participants:cancelAddParticipant"),
            json!({"invitationId": "1"}),
            &["invitationId"],
        ),
        (
            on_call("/participants:moveHere"),
            json!({"targetParticipants": [phone()], "fromCall": "other"}),
            &["targetParticipants", "fromCall"],
        ),
        (
            on_call(":play"),
            json!({"playSources": [
                {"kind": "file", "file": {"uri": "u"}}, {"kind": "text", "text": {"text": "t"}}, {"kind": "ssml", "ssml": {"ssmlText": "s"}},
            ], "playOptions": {"loop": true}}),
            &[
                "playSources",
                "playSources.0.kind",
                "playSources.0.file",
                "playSources.0.file.uri",
                "playSources.1.text.text",
                "playSources.2.ssml.ssmlText",
                "playOptions.loop",
            ],
        ),
        (
            on_call(":recognize"),
            json!({"recognizeInputType": "choices", "recognizeOptions": {
                "targetParticipant": phone(), "choices": [{"label": "yes", "phrases": ["yes"]}],
            }}),
            &[
                "recognizeInputType",
                "recognizeOptions",
                "recognizeOptions.targetParticipant",
                "recognizeOptions.choices",
                "recognizeOptions.choices.0.label",
                "recognizeOptions.choices.0.phrases",
            ],
        ),
        (
            on_call(":startContinuousDtmfRecognition"),
            target.clone(),
            &["targetParticipant"],
        ),
        (
            on_call(":stopContinuousDtmfRecognition"),
            target.clone(),
            &["targetParticipant"],
        ),
        (
            on_call(":sendDtmfTones"),
            json!({"tones": ["one"], "targetParticipant": phone()}),
            &["tones", "targetParticipant"],
        ),
        (on_call(":hold"), target.clone(), &["targetParticipant"]),
        (on_call(":unhold"), target, &["targetParticipant"]),
        (
            format!("/calling/recordings?api-version={VERSION}"),
            json!({"callLocator": {"kind": "serverCallLocator", "serverCallId": "x"}, "externalStorage": {"recordingStorageKind": "AzureBlobStorage"}}),
            &[
                "callLocator",
                "callLocator.serverCallId",
                "externalStorage.recordingStorageKind",
            ],
        ),
    ] {
        every_member_is_needed(&listener, "POST", &uri, &body, members);
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let listener = Listener::open();
    for (path, body, says) in [
        (
            "/none/participants:add",
            json!({"participantToAdd": phone(), "invitationTimeoutInSeconds": 181}),
            "invitationTimeoutInSeconds",
        ),
        (
            "/none/participants:add",
            json!({"participantToAdd": phone(), "operationCallbackUri": "/cb"}),
            "operationCallbackUri",
        ),
        ("/none:play", json!({"playSources": []}), "playSources"),
        (
            "/none:play",
            json!({"playSources": [{"kind": "video", "video": {}}]}),
            "playSources[0].kind",
        ),
        (
            "/none:sendDtmfTones",
            json!({"tones": ["hash"], "targetParticipant": phone()}),
            "tones[0]",
        ),
        (
            "/none:sendDtmfTones",
            json!({"tones": [], "targetParticipant": phone()}),
            "tones",
        ),
        (
            "/none:recognize",
            json!({"recognizeInputType": "dtmf", "recognizeOptions": {"targetParticipant": phone(), "dtmfOptions": {"maxTonesToCollect": 0}}}),
            "recognizeOptions.dtmfOptions.maxTonesToCollect",
        ),
        (
            ":reject",
            json!({"incomingCallContext": "x", "callRejectReason": "tired"}),
            "callRejectReason",
        ),
        (
            "",
            json!({"targets": [], "callbackUri": "https://example.com"}),
            "targets",
        ),
    ] {
        let uri = format!("/calling/callConnections{path}?api-version={VERSION}");
        let reply = listener.send("POST", &uri, &body);
        assert_eq!(reply.status, 400, "{path} {body}");
        assert_eq!(reply.body["error"]["code"], "BadRequest");
        let message = reply.body["error"]["message"].as_str().expect("a message");
        assert!(message.starts_with(says), "{path}: {message}");
    }
    let both = json!({"callLocator": {"serverCallId": "x"}, "callConnectionId": "y"});
    let reply = listener.send(
        "POST",
        &format!("/calling/recordings?api-version={VERSION}"),
        &both,
    );
    assert_eq!(reply.status, 400, "{}", reply.body);
}
