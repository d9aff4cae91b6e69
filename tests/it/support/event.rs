//! Callback bodies of the ga generation, shaped after docs/src/reference/acs-events.md, "Events of GA".

/// The types of the events of one call, in turn. Numbers and contexts are leak canaries: see [`super::leak_canary`].
const TYPES: [(&str, &str); 5] = [
    ("CallConnected", ""),
    (
        "ParticipantsUpdated",
        r#","sequenceNumber":7,"participants":[{"identifier":{"rawId":"4:+49159990007","kind":"phoneNumber","phoneNumber":{"value":"+49159990007"}},"isMuted":false}]"#,
    ),
    (
        "ContinuousDtmfRecognitionToneReceived",
        r#","sequenceId":1,"tone":"five","operationContext":"hscanary-menu""#,
    ),
    (
        "PlayCompleted",
        r#","operationContext":"hscanary-greeting""#,
    ),
    (
        "RecordingStateChanged",
        r#","recordingId":"rec-1","state":"active","startDateTime":"2026-01-02T03:04:05+00:00""#,
    ),
];

/// The bodies of the first `count` events of `call`, with their ids `{call}/{n}`.
pub(crate) fn call_events(call: &str, count: usize) -> Vec<(String, String)> {
    TYPES
        .iter()
        .cycle()
        .take(count)
        .enumerate()
        .map(|(n, (name, members))| {
            let id = format!("{call}/{n}");
            let body = format!(
                r#"[{{"id":"{id}","source":"calling/callConnections/{call}","type":"Microsoft.Communication.{name}","data":{{"version":"2025-05-15","callConnectionId":"{call}","serverCallId":"server-{call}","correlationId":"correlation-{call}"{members}}},"time":"2026-01-02T03:04:05.0000000+00:00","specversion":"1.0","datacontenttype":"application/json","subject":"calling/callConnections/{call}"}}]"#
            );
            (id, body)
        })
        .collect()
}
