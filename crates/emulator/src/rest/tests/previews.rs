use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::rest::{
    endpoint, private, public,
    test_support::{Listener, Step, every_member_is_needed, play, step},
};

const GROUP: &str = "e2b2a5e4-4f3b-4ea4-a3f6-6a1a6d2f0f5e";
const OPERATION: &[&str] = &["id", "status", "operationContext", "resultInfo"];

fn friend() -> Value {
    json!({"communicationUser": {"id": "8:acs:r_friend"}})
}

fn private_join() -> Value {
    json!({
        "source": {"communicationUser": {"id": "8:acs:r_me"}}, "callbackUri": "http://127.0.0.1:1/cb",
        "requestedModalities": ["audio"], "requestedCallEvents": ["participantsUpdated", "dtmfReceived"],
    })
}

fn private_create() -> Value {
    let mut body = private_join();
    body["targets"] = json!([{"phoneNumber": {"value": "+15550100"}}]);
    body["alternateCallerId"] = json!({"value": "+15550199"});
    body
}

#[test]
fn a_recording_is_found_in_its_own_call_only() {
    let listener = Listener::open();
    let other = "0d0f2f5e-4f3b-4ea4-a3f6-6a1a6d2f0f5e";
    for group in [GROUP, other] {
        listener.send(
            "POST",
            &format!("/conversations/{group}/Join"),
            &private_join(),
        );
    }
    listener.wait();
    let body = json!({"recordingStateCallbackUri": "https://example.com/rec"});
    let started = listener.send("POST", &format!("/conversations/{GROUP}/recordings"), &body);
    let id = started.body["recordingId"].as_str().expect("a recording");
    for (method, action) in [
        ("GET", ""),
        ("POST", "/Pause"),
        ("POST", "/Resume"),
        ("DELETE", ""),
    ] {
        for (place, status) in [(other, 404), ("unknown", 404), (GROUP, 200)] {
            let uri = format!("/conversations/{place}/recordings/{id}{action}");
            let reply = listener.send(method, &uri, &Value::Null);
            assert_eq!(reply.status, status, "{method} {uri}: {}", reply.body);
        }
    }
}

/// Every operation of the private preview below a prefix, as it spells these words.
fn private_story(prefix: &str, words: fn(&str) -> String, created: u16, joined: u16) -> Vec<Step> {
    let request = |text: &str| -> &'static str {
        let (method, path) = text.split_once(' ').expect("a method and a path");
        format!("{method} {prefix}{}", words(path)).leak()
    };
    let audio = || json!({"audioFileUri": "https://example.com/a.wav", "loop": false, "operationContext": "c"});
    vec![
        step(
            request("POST /calls"),
            private_create(),
            created,
            &["callLegId"],
        )
        .keep("id", "callLegId"),
        step(
            request("POST /calls/{id}/PlayAudio"),
            audio(),
            202,
            OPERATION,
        ),
        step(
            request("POST /calls/{id}/CancelMediaOperations"),
            Value::Null,
            200,
            OPERATION,
        ),
        step(
            request("POST /calls/{id}/CancelMediaProcessing"),
            json!({"operationContext": "c"}),
            202,
            OPERATION,
        ),
        step(
            request("POST /calls/{id}/participants"),
            json!({"participants": [friend()], "operationContext": "c"}),
            202,
            &[],
        ),
        step(
            request("DELETE /calls/{id}/participants/8%3Aacs%3Ar_friend"),
            Value::Null,
            202,
            &[],
        ),
        step(request("POST /calls/{id}/Hangup"), Value::Null, 202, &[]),
        step(
            request("POST /calls/{id}/Hangup"),
            Value::Null,
            404,
            &["code", "message"],
        ),
        step(
            request("POST /calls"),
            private_create(),
            created,
            &["callLegId"],
        )
        .keep("id", "callLegId"),
        step(request("DELETE /calls/{id}"), Value::Null, 202, &[]),
        step(
            request("POST /conversations/{group}/Join"),
            private_join(),
            joined,
            &["callLegId"],
        ),
        step(
            request("POST /conversations/{group}/participants"),
            json!({"participants": [friend()]}),
            202,
            &[],
        ),
        step(
            request("POST /conversations/{group}/PlayAudio"),
            audio(),
            202,
            OPERATION,
        ),
        step(
            request("POST /conversations/{group}/recordings"),
            json!({"recordingStateCallbackUri": "https://example.com/rec"}),
            200,
            &["recordingId"],
        )
        .keep("recording", "recordingId"),
        step(
            request("GET /conversations/{group}/recordings/{recording}"),
            Value::Null,
            200,
            &["recordingState"],
        ),
        step(
            request("POST /conversations/{group}/recordings/{recording}/Pause"),
            json!({"operationContext": "c"}),
            200,
            &[],
        ),
        step(
            request("POST /conversations/{group}/recordings/{recording}/Resume"),
            Value::Null,
            200,
            &[],
        ),
        step(
            request("DELETE /conversations/{group}/recordings/{recording}"),
            Value::Null,
            200,
            &[],
        ),
        step(
            request("DELETE /conversations/{group}/participants/8:acs:r_friend"),
            Value::Null,
            202,
            &[],
        ),
    ]
}

fn play_private(version: Option<&str>, story: Vec<Step>) {
    let listener = Listener::open();
    let mut kept = BTreeMap::from([("group", GROUP.to_owned())]);
    let used = play(&listener, &mut kept, private::ENDPOINTS, version, story);
    assert_eq!(used, endpoint::names(private::ENDPOINTS));
}

#[test]
fn the_private_preview_is_answered_as_its_documentation_page_says() {
    // The page spells `join`, and the recording page `Recordings`.
    let words = |path: &str| {
        path.replace("Join", "join")
            .replace("recordings", "Recordings")
    };
    play_private(None, private_story("", words, 200, 200));
    play_private(
        Some("2021-04-15-preview1"),
        private_story("/calling", words, 200, 200),
    );
}

#[test]
fn the_private_preview_is_answered_as_its_specification_says() {
    play_private(
        Some("2021-03-28-preview0"),
        private_story("/calling", str::to_owned, 201, 202),
    );
}

/// Every operation of the public preview, as both of its versions have them.
fn public_story(added: &'static [&'static str], operation: &'static [&'static str]) -> Vec<Step> {
    let audio = || json!({"audioFileUri": "https://example.com/a.wav", "loop": false, "callbackUri": "https://example.com/play"});
    let create = || {
        json!({
            "targets": [{"phoneNumber": {"value": "+15550100"}}], "alternateCallerId": {"value": "+15550199"},
            "source": {"communicationUser": {"id": "8:acs:r_me"}}, "callbackUri": "http://127.0.0.1:1/cb",
            "requestedMediaTypes": ["audio"], "requestedCallEvents": ["participantsUpdated"],
        })
    };
    let invite = || {
        if added.is_empty() {
            json!({"participants": [friend()]})
        } else {
            json!({"participant": friend(), "alternateCallerId": {"value": "+15550199"}})
        }
    };
    let keep = |step: Step| {
        if added.is_empty() {
            step
        } else {
            step.keep("participant", "participantId")
        }
    };
    vec![
        step(
            "POST /calling/callConnections",
            create(),
            201,
            &["callConnectionId"],
        )
        .keep("id", "callConnectionId"),
        step(
            "POST /calling/callConnections/{id}/:playAudio",
            audio(),
            202,
            operation,
        ),
        step(
            "POST /calling/callConnections/{id}/:cancelAllMediaOperations",
            json!({"operationContext": "c"}),
            200,
            operation,
        ),
        keep(step(
            "POST /calling/callConnections/{id}/participants",
            invite(),
            202,
            added,
        )),
        step(
            "DELETE /calling/callConnections/{id}/participants/{participant}",
            Value::Null,
            202,
            &[],
        ),
        step(
            "POST /calling/serverCalls/{server}/:join",
            json!({"source": {"communicationUser": {"id": "8:acs:r_two"}}, "callbackUri": "http://127.0.0.1:1/cb"}),
            202,
            &["callConnectionId"],
        ),
        keep(step(
            "POST /calling/serverCalls/{server}/participants",
            invite(),
            202,
            added,
        )),
        step(
            "DELETE /calling/serverCalls/{server}/participants/{participant}",
            Value::Null,
            202,
            &[],
        ),
        step(
            "POST /calling/serverCalls/{server}/:playAudio",
            audio(),
            202,
            operation,
        ),
        step(
            "POST /calling/serverCalls/{server}/recordings",
            json!({}),
            200,
            &["recordingId"],
        )
        .keep("recording", "recordingId"),
        step(
            "GET /calling/serverCalls/{server}/recordings/{recording}",
            Value::Null,
            200,
            &["recordingState"],
        ),
        step(
            "POST /calling/serverCalls/{server}/recordings/{recording}/:pause",
            Value::Null,
            200,
            &[],
        ),
        step(
            "POST /calling/serverCalls/{server}/recordings/{recording}/:resume",
            Value::Null,
            200,
            &[],
        ),
        step(
            "DELETE /calling/serverCalls/{server}/recordings/{recording}",
            Value::Null,
            200,
            &[],
        ),
        step(
            "POST /calling/callConnections/{id}/:hangup",
            Value::Null,
            202,
            &[],
        ),
    ]
}

/// Plays it, with the server call id taken from what the emulator shows once the call is made.
fn play_public(version: &str, story: Vec<Step>) {
    let listener = Listener::open();
    let mut kept = BTreeMap::from([("participant", "8:acs:r_friend".to_owned())]);
    let mut story = story.into_iter();
    let first = story.by_ref().take(1).collect();
    let mut used = play(
        &listener,
        &mut kept,
        public::ENDPOINTS,
        Some(version),
        first,
    );
    let calls = listener.send("GET", "/_emulator/calls", &Value::Null);
    let server = calls.body["calls"][0]["serverCallId"]
        .as_str()
        .expect("an id");
    // What events of 2021 carry: base64url without padding.
    let server = server.replace('+', "-").replace('/', "_");
    kept.insert("server", server.trim_end_matches('=').to_owned());
    used.extend(play(
        &listener,
        &mut kept,
        public::ENDPOINTS,
        Some(version),
        story.collect(),
    ));
    assert_eq!(used, endpoint::names(public::ENDPOINTS));
}

#[test]
fn the_public_preview_is_answered_as_documented() {
    play_public(
        "2021-08-30-preview",
        public_story(
            &["participantId"],
            &["operationId", "status", "operationContext", "resultInfo"],
        ),
    );
}

#[test]
fn the_early_text_of_the_public_preview_is_supported_too() {
    let operation = &[
        "id",
        "operationId",
        "status",
        "operationContext",
        "resultInfo",
    ];
    play_public("2021-06-15-preview", public_story(&[], operation));
    play_public(
        "2021-06-15-preview",
        public_story(&["participantId"], operation),
    );
}

#[test]
fn every_required_member_of_2021_is_asked_for() {
    let listener = Listener::open();
    for (uri, body, members) in [
        (
            "/calls",
            private_create(),
            &[
                "targets",
                "source",
                "callbackUri",
                "requestedModalities",
                "requestedCallEvents",
                "alternateCallerId.value",
            ][..],
        ),
        (
            "/conversations/e2b2a5e4-4f3b-4ea4-a3f6-6a1a6d2f0f5e/join",
            private_join(),
            &[
                "source",
                "callbackUri",
                "requestedModalities",
                "requestedCallEvents",
            ],
        ),
        (
            "/calls/none/PlayAudio",
            json!({"audioFileUri": "u"}),
            &["audioFileUri"],
        ),
        (
            "/calls/none/participants",
            json!({"participants": [friend()]}),
            &["participants"],
        ),
        (
            "/calling/callConnections?api-version=2021-08-30-preview",
            private_create(),
            &["targets", "source", "callbackUri"],
        ),
        (
            "/calling/serverCalls/none/:join?api-version=2021-08-30-preview",
            private_join(),
            &["source", "callbackUri"],
        ),
        (
            "/calling/callConnections/none/participants?api-version=2021-08-30-preview",
            json!({"participant": friend()}),
            &["participant"],
        ),
        (
            "/calling/callConnections/none/:playAudio?api-version=2021-06-15-preview",
            json!({"audioFileUri": "u"}),
            &["audioFileUri"],
        ),
    ] {
        every_member_is_needed(&listener, "POST", uri, &body, members);
    }
}

#[test]
fn a_prefixed_path_needs_a_version() {
    let listener = Listener::open();
    for (path, member) in [
        ("/calling/calls", "/message"),
        ("/calling/serverCalls/1/:join", "/error/message"),
        ("/calling/callConnections", "/error/message"),
    ] {
        let reply = listener.send("POST", path, &json!({}));
        assert_eq!(reply.status, 400);
        let message = reply
            .body
            .pointer(member)
            .and_then(Value::as_str)
            .expect(path);
        assert!(message.contains("api-version"), "{message}");
    }
}
