//! The events of a call with a recording, in every order of arrival: their call keys and partitions.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{Receiver, Taken, post, shared_amqp_url, take_all, unique};

const PARTITIONS: usize = 4;

/// Indices into the result of [`Call::events`].
const STATE: usize = 1;
const FILE: usize = 3;
const OLD_FILE: usize = 4;

/// One call with a recording.
struct Call {
    leg: String,
    server_call: String,
    correlation: String,
    recording: String,
    /// The `PlatformEndpointId` in the recording id.
    endpoint: String,
}

/// How the recording was started, which determines the endpoint.
#[derive(Clone, Copy)]
enum StartedBy {
    ServerCallId,
    CallConnectionId,
}

impl Call {
    fn new(started_by: StartedBy) -> Self {
        let leg = unique("leg");
        let endpoint = match started_by {
            StartedBy::ServerCallId => unique("endpoint"),
            StartedBy::CallConnectionId => leg.clone(),
        };
        Self {
            // With a slash, which is possible in standard base64.
            server_call: format!("aHR0cHM6Ly9j/{}==", unique("server")),
            correlation: unique("correlation"),
            recording: URL_SAFE_NO_PAD.encode(format!(
                r#"{{"PlatformEndpointId":"{endpoint}","ResourceSpecificId":"{}"}}"#,
                unique("recording")
            )),
            leg,
            endpoint,
        }
    }

    /// Each event with the ids that can give it its key: first its connection, if it proves one, then the others in order.
    fn events(&self) -> Vec<(Value, Ids)> {
        let Self {
            leg,
            server_call,
            correlation,
            recording,
            endpoint,
        } = self;
        let cloud_event = |short_type: &str, source: &str, data: Value| {
            json!([{
                "id": unique("id"), "source": source, "subject": source,
                "type": format!("Microsoft.Communication.{short_type}"), "specversion": "1.0",
                "time": "2026-06-13T19:03:17+00:00", "datacontenttype": "application/json", "data": data,
            }])
        };
        let event_grid = |short_type: &str, subject: String, data: Value| {
            json!([{
                "id": unique("id"), "topic": "/subscriptions/x", "subject": subject,
                "eventType": format!("Microsoft.Communication.{short_type}"), "data": data, "dataVersion": "1.0",
                "metadataVersion": "1", "eventTime": "2026-06-13T19:04:00Z",
            }])
        };
        let state = json!({
            "callConnectionId": endpoint, "serverCallId": server_call, "correlationId": correlation,
            "version": "2025-05-15", "recordingId": recording, "state": "active",
            "startDateTime": "2026-06-13T19:03:17.3413759+00:00", "recordingKind": "azureCommunicationServices",
        });
        let file = json!({
            "recordingStorageInfo": {"recordingChunks": [{
                "documentId": "d", "index": 0, "endReason": "SessionEnded",
                "contentLocation": "https://storage.contoso.example/d",
                "metadataLocation": "https://storage.contoso.example/d/metadata",
            }]},
            "recordingStartTime": "2026-06-13T19:03:17Z", "recordingDurationMs": 1000, "sessionEndReason": "CallEnded",
        });
        let others = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect();
        let source = format!("calling/recordings/{server_call}/{recording}/RecordingStateChanged");
        vec![
            (
                cloud_event(
                    "CallConnected",
                    &format!("calling/callConnections/{leg}"),
                    json!({
                        "callConnectionId": leg, "serverCallId": server_call, "correlationId": correlation,
                        "version": "2025-05-15",
                    }),
                ),
                Ids::new(Some(leg), None, others(&[server_call])),
            ),
            (
                cloud_event("RecordingStateChanged", &source, state),
                Ids::new(None, Some(endpoint), others(&[server_call, recording])),
            ),
            (
                event_grid(
                    "CallEnded",
                    format!("call/{server_call}"),
                    json!({
                        "serverCallId": server_call, "correlationId": correlation, "isTwoParty": false,
                        "startedBy": {"communicationIdentifier": {"rawId": "8:acs:x"}, "role": "Attendee"},
                        "group": {"id": "g"},
                    }),
                ),
                Ids::new(None, None, others(&[server_call])),
            ),
            (
                event_grid(
                    "RecordingFileStatusUpdated",
                    format!(
                        "/recording/call/{correlation}/serverCallId/{server_call}/recordingId/{recording}"
                    ),
                    file.clone(),
                ),
                Ids::new(None, None, others(&[server_call, recording])),
            ),
            // Until 2024 the subject did not name the server call, but an id that no other event has.
            (
                event_grid(
                    "RecordingFileStatusUpdated",
                    format!("/recording/call/{correlation}/recordingId/{recording}"),
                    file,
                ),
                Ids::new(None, None, others(&[correlation, recording])),
            ),
        ]
    }
}

#[derive(Clone)]
struct Ids {
    connection: Option<String>,
    endpoint: Option<String>,
    others: Vec<String>,
}

impl Ids {
    fn new(connection: Option<&String>, endpoint: Option<&String>, others: Vec<String>) -> Self {
        Self {
            connection: connection.cloned(),
            endpoint: endpoint.cloned(),
            others,
        }
    }
}

/// An independent implementation of the rule: the key of each event if they arrive in this order.
fn expected_keys(ids: &[&Ids]) -> Vec<String> {
    let mut bound: HashMap<&str, String> = HashMap::new();
    let mut in_use: BTreeSet<String> = BTreeSet::new();
    ids.iter()
        .map(|ids| {
            let endpoint = ids.endpoint.clone().filter(|id| in_use.contains(id));
            let known = ids.others.iter().find_map(|id| bound.get(id.as_str()));
            let key = ids
                .connection
                .clone()
                .or(endpoint)
                .or(known.cloned())
                .or_else(|| ids.others.first().cloned())
                .expect("every event has an id");
            for id in &ids.others {
                bound.entry(id).or_insert_with(|| key.clone());
            }
            in_use.insert(key.clone());
            key
        })
        .collect()
}

/// Every order of 0 to `count` - 1.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    orders(count - 1)
        .into_iter()
        .flat_map(|order| {
            (0..=order.len()).map(move |place| {
                let mut longer = order.clone();
                longer.insert(place, count - 1);
                longer
            })
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_every_order_a_call_with_a_recording_has_the_keys_of_its_legs_and_no_others() {
    let url = shared_amqp_url();
    let queue = unique("recordings");
    let mut receiver = Receiver::new(&format!(
        "[broker]\nurl = \"{url}\"\n\n[[apps]]\nname = \"it\"\nauth = \"none\"\n\n\
         [[routes]]\nname = \"all\"\nqueue = \"{queue}\"\npartitions = {PARTITIONS}\n"
    ));
    receiver.start().await;
    let client = reqwest::Client::new();

    // The ids of the events by key, in the order of acceptance.
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut sent = 0;
    for started_by in [StartedBy::ServerCallId, StartedBy::CallConnectionId] {
        for order in orders(5) {
            let call = Call::new(started_by);
            let events = call.events();
            let ids: Vec<&Ids> = order.iter().map(|&index| &events[index].1).collect();
            let keys = expected_keys(&ids);
            let mut allowed = vec![&call.leg, &call.server_call, &call.recording];
            let place = |event| order.iter().position(|&index| index == event);
            if place(OLD_FILE) < place(STATE).min(place(FILE)) {
                // No event has named its recording yet, so its key is the id in its subject.
                allowed.push(&call.correlation);
            }
            for (index, key) in order.iter().zip(keys) {
                assert!(allowed.contains(&&key), "{key} after {order:?}");
                let body = &events[*index].0;
                let answer = post(&client, &receiver.callback_url("it"), &body.to_string())
                    .await
                    .expect("an answer");
                assert_eq!(answer.status(), 202);
                let answer: Value = answer.json().await.expect("JSON");
                assert_eq!(answer["accepted"], 1, "{body}: {answer}");
                let id = body[0]["id"].as_str().expect("an id").to_owned();
                expected.entry(key).or_default().push(id);
                sent += 1;
            }
        }
    }
    receiver.until_nothing_pending().await;

    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut taken_in_all = 0;
    for partition in 0..PARTITIONS {
        let name = format!("{queue}.{partition}");
        let taken = take_all(&url, &name, Duration::from_secs(2), |_| false).await;
        taken_in_all += taken.len();
        let mut here: BTreeMap<String, Vec<Taken>> = BTreeMap::new();
        for message in taken {
            let key = message.call.clone().expect("every event has a call");
            here.entry(key).or_default().push(message);
        }
        for (key, messages) in here {
            let sequences: Vec<i64> = messages.iter().filter_map(|one| one.sequence).collect();
            let whole: Vec<i64> = (1..).take(messages.len()).collect();
            assert_eq!(sequences, whole, "sequences of {key}");
            let ids = messages.into_iter().map(|one| one.id).collect();
            let elsewhere = found.insert(key.clone(), ids);
            assert_eq!(elsewhere, None, "{key} is in two partitions");
        }
    }
    assert_eq!(taken_in_all, sent);
    assert_eq!(found, expected);
}
